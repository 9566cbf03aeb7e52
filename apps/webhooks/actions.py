"""What is to be done: action words, in fields and in sentences, and whether they agree."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from apps.webhooks import words
from apps.webhooks.readings import MessageCode

MAX_PHRASE = 80
_WORD = re.compile(r"[^\W\d_]+(?:['’\-_][^\W\d_]+)*|\d[\d.,]*|[\n:,;|()!?]")
_DOUBTS_TEXT = (
    "? not no dont don't don’t do never avoid without if when unless until wait waiting maybe "
    "might may could would should consider considering watch looking possible potential "
    "expect expected probably before instead stopped cannot can't can’t isn't isn’t was were "
    "been closed hit reached sold bought exited hold holding ignore ignored cancelled "
    "canceled rejected failed prepare ready half partial partially quarter third about almost "
    "only yet"
)
_DOUBTS = frozenset(_DOUBTS_TEXT.split())
# "long MA", "short squeeze", "buy volume": the word describes something else.
_NOT_BEFORE_TEXT = (
    "ma ema sma wma term squeeze interest covering seller sellers buyer buyers wick period "
    "time side volume zone wall pressure area level levels above below price candle rsi trend "
    "profit loss off"
)
_NOT_BEFORE = frozenset(_NOT_BEFORE_TEXT.split())
_CODE = re.compile(r"(enter|exit|close)[-_ ]?(long|short|all)(?![a-z])", re.IGNORECASE)
_PHRASES: dict[str, str] = {
    "go long": "buy", "enter long": "buy", "open long": "buy", "long entry": "buy",
    "buy long": "buy", "buy to open": "buy", "go short": "sell", "enter short": "sell",
    "open short": "sell", "short entry": "sell", "sell short": "sell", "sell to open": "sell",
    "close long": "close_long", "exit long": "close_long", "long exit": "close_long",
    "long close": "close_long", "sell to close": "close_long", "close buy": "close_long",
    "close short": "close_short", "exit short": "close_short", "short exit": "close_short",
    "short close": "close_short", "buy to close": "close_short", "buy to cover": "close_short",
    "cover short": "close_short", "close sell": "close_short", "close all": "close",
    "close position": "close", "close positions": "close", "exit all": "close",
    "exit position": "close", "close the position": "close", "close trade": "close",
    "cancel all": "cancel", "cancel order": "cancel", "cancel orders": "cancel",
    "cancel all orders": "cancel", "close all positions": "close", "go flat": "close",
    "strong buy": "buy", "strong sell": "sell", "close long position": "close_long",
    "close short position": "close_short", "exit long position": "close_long",
    "exit short position": "close_short", "exit all positions": "close",
    "close longs": "close_long",
    "close shorts": "close_short",
}  # fmt: skip
_PLAIN: dict[str, str] = {
    "buy": "buy", "long": "buy", "sell": "sell", "short": "sell", "exit": "close",
    "flatten": "close", "cover": "close_short",
    "cancel": "cancel", "closeall": "close", "closelong": "close_long",
    "closeshort": "close_short", "exitlong": "close_long", "exitshort": "close_short",
    "liquidate": "close", "enterlong": "buy", "entershort": "sell", "golong": "buy",
    "goshort": "sell", "buylimit": "buy", "selllimit": "sell", "buystop": "buy",
    "sellstop": "sell", "openlong": "buy", "openshort": "sell", "exitall": "close",
    "longentry": "buy", "shortentry": "sell", "longexit": "close_long",
    "shortexit": "close_short", "closeposition": "close",
    "cancelall": "cancel",
}  # fmt: skip
_COMPATIBLE: dict[frozenset[str], str] = {
    frozenset({"close", "close_long"}): "close_long",
    frozenset({"close", "close_short"}): "close_short",
    frozenset({"close_long", "sell"}): "close_long",
    frozenset({"close_short", "buy"}): "close_short",
    frozenset({"close", "sell"}): "close",
    frozenset({"close", "buy"}): "close",
    frozenset({"add", "buy"}): "add",
    frozenset({"cancel", "buy"}): "cancel",
    frozenset({"cancel", "sell"}): "cancel",
}

# In a sentence "close long, open short" is two orders; only these say one thing twice.
_SAID_TWICE: dict[frozenset[str], str] = {
    frozenset({"close", "close_long"}): "close_long",
    frozenset({"close", "close_short"}): "close_short",
    frozenset({"add", "buy"}): "add",
}

_JOINED = re.compile(r"[-_]")

Verdict = tuple[str | None, MessageCode | None]


def is_true(value: Any) -> bool:
    """Say whether a flag is set, as a boolean, a number or a word."""
    if isinstance(value, bool):
        return value
    return isinstance(value, str) and value.strip().lower() in words.TRUE_WORDS


def of_word(value: object) -> str | None:
    """Return the action that a field's whole value means: ``ENTER-LONG`` is buy."""
    if not isinstance(value, str) or len(value) > MAX_PHRASE:
        return None
    return words.ACTIONS.get(words.fold(value))


def reversal(value: object) -> tuple[str, str] | None:
    """Return the two actions of a word that closes one side and opens the other."""
    if not isinstance(value, str) or len(value) > MAX_PHRASE:
        return None
    return words.REVERSALS.get(words.fold(value))


def agree(strong: Sequence[object], hints: Sequence[object]) -> Verdict:
    """Return the one action that all fields mean, or why there is none.

    Args:
        strong: values of fields that are there for the action, such as ``action`` and ``side``.
        hints: values of fields that often hold something else, such as ``type`` and ``signal``.
    """
    meant: list[str] = []
    sides: list[str] = []
    unknown: list[str] = []
    for value in strong:
        action = of_word(value)
        if action:
            meant.append(action)
            sides.append(words.SIDE_WORDS.get(words.fold(str(value)), ""))
        elif isinstance(value, str) and words.fold(value[:MAX_PHRASE]) not in words.OPENING_WORDS:
            unknown.append(value)
    for value in hints:
        action = of_word(value) or of_code(value)
        if action:
            meant.append(action)
            sides.append(words.SIDE_WORDS.get(words.fold(str(value)), ""))
    if unknown:
        return _of_sentences(unknown, meant)
    return _settle(meant, sides)


def _of_sentences(values: list[str], meant: list[str]) -> Verdict:
    for value in values:
        action, fault = in_sentence(value[: MAX_PHRASE * 2])
        if fault:
            return None, fault
        if action:
            meant.append(action)
    return _settle(meant, [""] * len(meant))


def _settle(meant: list[str], sides: list[str]) -> Verdict:
    distinct = frozenset(meant)
    if len(distinct) <= 1:
        return (meant[0] if meant else None), None
    if "close" in distinct and len(distinct) == 2:
        side = next((side for side in sides if side), None)
        if side:
            return f"close_{side}", None
    settled = _COMPATIBLE.get(distinct)
    return settled, None if settled else MessageCode.CONTRADICTORY_ACTION


def of_code(value: object) -> str | None:
    """Return the action at the head of a vendor's opaque code: ``ENTER-LONG_Bybit_...``."""
    if not isinstance(value, str):
        return None
    match = _CODE.match(value)
    return words.ACTIONS.get(words.fold(match.group())) if match else None


def entry_side(values: Sequence[object]) -> str | None:
    """Return long or short when the action word names the side to be on, not an order's side."""
    for value in values:
        if isinstance(value, str) and len(value) <= MAX_PHRASE:
            folded = words.fold(value)
            if words.ACTIONS.get(folded) in ("buy", "sell") and folded not in ("buy", "sell"):
                if "long" in folded or "bull" in folded:
                    return "long"
                if "short" in folded or "bear" in folded:
                    return "short"
    return None


def is_contradicted(
    action: str | None,
    side: str | None,
    *,
    now: str | None,
    was: str | None,
    size: Decimal | None,
    was_size: Decimal | None,
) -> bool:
    """Say whether the position after the order cannot come from this order.

    A buy never lowers the signed position. ``sell`` ending flat or still long is an exit or part
    of one and stays a sell, if a size or the position before tells so.
    """
    if action not in ("buy", "sell"):
        return False
    if side and now and now not in (side, "flat"):
        return True
    up = action == "buy"
    if size is not None and was_size is not None and size != was_size:
        return (size > was_size) != up
    opposite = "short" if up else "long"
    if now == opposite:
        return was in ("flat", "long" if up else "short") or (was is None and size is None)
    return now == "flat" and was == ("long" if up else "short")


def in_sentence(text: str) -> Verdict:
    """Return the one action that a sentence asks for.

    Raises no doubt lightly: a negation, a condition or two different actions is ambiguous.
    """
    tokens = [match.group().lower() for match in _WORD.finditer(text)]
    found: list[str] = []
    is_doubtful = False
    place = 0
    while place < len(tokens):
        action, length = _at(tokens, place)
        if action:
            found.append(action)
        elif tokens[place] in _DOUBTS:
            is_doubtful = True
        place += length
    if not found:
        return None, None
    if is_doubtful or (len(set(found)) > 1 and frozenset(found) not in _SAID_TWICE):
        return None, MessageCode.AMBIGUOUS_ACTION
    return _SAID_TWICE.get(frozenset(found), found[0]), None


def _at(tokens: list[str], place: int) -> tuple[str | None, int]:
    """Return the action that begins at this token, and how many tokens it takes."""
    for length in (3, 2):
        phrase = " ".join(tokens[place : place + length])
        if phrase in _PHRASES:
            return _PHRASES[phrase], length
    word = tokens[place]
    after = tokens[place + 1] if place + 1 < len(tokens) else ""
    if word == "close":
        return ("close", 1) if _is_command(tokens, place) else (None, 1)
    # "strong-buy" is in the table once its hyphen is gone; "sell-off" and "long-term" are not.
    action = _PLAIN.get(word) or (
        words.ACTIONS.get(words.fold(word)) if _JOINED.search(word) else None
    )
    if action is None or after in _NOT_BEFORE:
        return None, 1
    return action, 1


def _is_command(tokens: list[str], place: int) -> bool:
    """``close`` is also the name of a price; as a command it begins or ends the text."""
    after = tokens[place + 1] if place + 1 < len(tokens) else ""
    if place == len(tokens) - 1:
        return place <= 2
    return place == 0 and not after[0].isdigit() and after not in _NOT_BEFORE and after != "price"
