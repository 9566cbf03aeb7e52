"""Commands: one order each, and the comma-separated ones whose fields go by place."""

import re
from dataclasses import dataclass, field

from apps.webhooks import actions, prose, words
from apps.webhooks.readings import MessageCode

Pair = tuple[str, str]


@dataclass(slots=True)
class Command:
    """One part of a text: the values it names, and what is wrong with it."""

    pairs: list[Pair] = field(default_factory=list)
    faults: set[MessageCode] = field(default_factory=set)

    def is_whole(self) -> bool:
        """Say whether it is an order by itself."""
        named = {field_of(key) for key, _ in self.pairs}
        return "ticker" in named and not named.isdisjoint({"action", "action_hint"})

    def add(self, key: str, value: str) -> None:
        self.pairs.append((key, value))


def field_of(key: str) -> str:
    """Return the canonical field that a name stands for, or nothing."""
    return words.FIELDS.get(words.fold(key[:60]), ("", 0))[0]


_LICENCE = re.compile(r"\d{6,24}|.{0,20}licen[cs]e.{0,20}|[A-Za-z0-9\-_]{16,64}", re.IGNORECASE)
_TIMEFRAME = re.compile(r"\d{1,4}[A-Za-z]?|[DWM]", re.ASCII)
BARE_NUMBER = re.compile(r"[$]?\d[\d.]*%?|\d+(?:\.\d+)?[a-z]?%", re.ASCII)


def comma_separated(segment: str) -> Command | None:
    if "," not in segment and "&" not in segment:
        return None
    parts = [part.strip() for part in re.split(r"[,&]", segment, maxsplit=60)]
    if all("=" in part or ":" in part for part in parts) and field_of(_pair(parts[0])[0]):
        return Command([_pair(part) for part in parts])
    place = next(
        (
            place
            for place, part in enumerate(parts[:3])
            if actions.of_word(part) or actions.reversal(part)
        ),
        None,
    )
    if place is None or len(parts) < 2 or any(" " in part for part in parts[1:3]):
        return None
    return _positional(parts, place)


def _pair(part: str) -> Pair:
    key, _, value = part.partition("=") if "=" in part else part.partition(":")
    return key.strip(), value.strip().strip('"')


def _is_symbol(parts: list[str], place: int) -> bool:
    if place >= len(parts) or "=" in parts[place] or BARE_NUMBER.fullmatch(parts[place]):
        return False
    return bool(parts[place]) and words.fold(parts[place]) not in words.ORDER_TYPES


def _positional(parts: list[str], place: int) -> Command:
    command = Command([("action", parts[place])])
    head: str | None = None
    if place == 0 and _LICENCE.fullmatch(parts[1]) and _is_symbol(parts, 2):
        command.faults.add(MessageCode.NONSTANDARD_ORDER)
        head, symbol, rest = parts[1], parts[2], parts[3:]
    elif place == 0:
        symbol, rest = parts[1], parts[2:]
    elif place == 1 and _is_symbol(parts, 2):
        head, symbol, rest = parts[0], parts[2], parts[3:]
    elif place == 1:
        symbol, rest = parts[0], parts[2:]
    else:
        command.faults.add(MessageCode.NONSTANDARD_ORDER)
        head, symbol, rest = parts[0], parts[1], parts[3:]
        if _TIMEFRAME.fullmatch(symbol):
            command.add("timeframe", symbol)
            head, symbol = None, parts[0]
    if not _take_head(command, head):
        command.faults.add(MessageCode.BAD_TICKER)
        symbol = ""
    command.add("symbol", symbol)
    _take_rest(command, rest, has_licence=("license", "seen") in command.pairs)
    return command


def _take_head(command: Command, head: str | None) -> bool:
    """Take a licence or a strategy's name; say no if it may as well be the ticker."""
    if head is None:
        return True
    if _LICENCE.fullmatch(head):
        command.add("license", "seen")
        return True
    command.add("strategy", head)
    return not (head.isupper() and head.isalnum() and len(head) <= 10)


def _take_rest(command: Command, rest: list[str], *, has_licence: bool) -> None:
    bare: list[str] = []
    for part in rest:
        if "=" in part:
            key, value = _pair(part)
            command.add(words.SHORT_NAMES.get(key.lower(), key), value)
        elif words.fold(part) in words.ORDER_TYPES:
            command.add("order_type", part)
        elif BARE_NUMBER.fullmatch(part):
            bare.append(part)
    _take_numbers(command, bare, has_licence=has_licence)


def _take_numbers(command: Command, bare: list[str], *, has_licence: bool) -> None:
    """Numbers without names: only where their places leave no doubt."""
    if len(bare) == 3 and has_licence:
        command.pairs += zip(("quantity", "sl", "tp"), bare, strict=True)
    elif len(bare) == 2 and not has_licence and _is_size_and_price(*bare):
        command.pairs += [("quantity", bare[0]), ("price", bare[1])]
    elif len(bare) == 1 and not prose.looks_like_price(bare[0]):
        command.add("quantity", bare[0])
    elif bare:
        command.faults.add(MessageCode.AMBIGUOUS_NUMBER)


def _is_size_and_price(size: str, price: str) -> bool:
    is_count = "." not in size and not prose.looks_like_price(size)
    return is_count and prose.looks_like_price(price)
