"""From named values to the one reading: precedence of prices, agreement of actions, faults."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from apps.webhooks import actions, numbers, sizes, tickers, times, words
from apps.webhooks.bodies import clean
from apps.webhooks.fields import CONTROLS, MAX_SHORT_TEXT, PLACEHOLDER, Found, place_of
from apps.webhooks.numbers import NumberText
from apps.webhooks.readings import GRAVITY, MessageCode, ParsedAlert

Tree = Any

MAX_TEXT = 500
_PRICES = ("order_price", "price", "limit_price", "signal_price", "trigger_price", "close")


def read(found: Found) -> ParsedAlert:
    """Make the reading of one order out of what was collected."""
    action = _action(found)
    positions = _positions(found, action)
    if positions.pop("contradicted", None):
        action = None
    elif action is None:
        action = _action_from_position(found, positions)
    ticker, exchange = _ticker(found)
    values: dict[str, Any] = {
        "action": action,
        "ticker": ticker,
        "exchange": exchange,
        **positions,
        **_prices(found, action),
        **sizes.read(found, action, ticker, positions),
        **times.read(found),
        "timeframe": found.text("timeframe", 16),
        "strategy": found.text("strategy", 200) or found.text("name", 200),
        "comment": _comment(found),
        "reduce_only": actions.is_true(found.first("reduce_only")),
        "secret_seen": any(found.all("secret")),
        "set_aside": _set_aside(found),
    }
    if action is None:
        found.faults.add(MessageCode.NO_ACTION)
    if ticker is None:
        found.faults.add(MessageCode.NO_TICKER)
    return ParsedAlert(**values, error=gravest(found.faults))


def gravest(faults: Iterable[MessageCode]) -> MessageCode | None:
    """Return the fault that the alert is to carry."""
    return min(faults, key=GRAVITY.__getitem__, default=None)


def _comment(found: Found) -> str | None:
    # An unfilled comment harms no order, so it is dropped without a fault.
    for value in found.all("comment"):
        if isinstance(value, str) and value and not PLACEHOLDER.search(value):
            return CONTROLS.sub(" ", clean(value)).strip()[:MAX_TEXT] or None
    return None


def _set_aside(found: Found) -> tuple[str, ...]:
    names = found.set_aside
    if any(value not in (None, "", False) for value in found.all("set_aside")):
        names = [*names, "distances"]
    return tuple(dict.fromkeys(names))


def _action(found: Found) -> str | None:
    strong, hints = _action_values(found)
    for value in strong:
        if isinstance(value, str) and PLACEHOLDER.search(value):
            found.faults.add(MessageCode.UNRESOLVED_PLACEHOLDER)
            return None
    action, fault = actions.agree(strong, hints)
    if fault:
        found.faults.add(fault)
    if action in ("buy", "sell") and actions.is_true(found.first("close_flag")):
        return "close"
    return action


def _action_values(found: Found) -> tuple[list[Tree], list[Tree]]:
    """Return what was said of the action; an order's own word outweighs its details' words.

    A ``direction`` deep inside describes something else, if an action stands further out; another
    ``action`` there is a contradiction.
    """
    strong = [entry for entry in found.values.get("action", ()) if entry[2] not in (None, "")]
    hints = [entry for entry in found.values.get("action_hint", ()) if entry[2] not in (None, "")]
    if strong:
        outer = min(depth for depth, _, _ in strong)
        strong = [entry for entry in strong if entry[0] == outer or entry[1] <= _OWN_WORDS]
        hints = [entry for entry in hints if entry[0] <= outer]
    strong.sort(key=place_of)
    hints.sort(key=place_of)
    return [_cleaned(value) for _, _, value in strong], [_cleaned(value) for _, _, value in hints]


def _cleaned(value: Tree) -> Tree:
    return clean(value) if isinstance(value, str) else value


# Ranks of action, orderaction and strategyorderaction.
_OWN_WORDS = 2


def _action_from_position(found: Found, positions: dict[str, Any]) -> str | None:
    """A position wanted, and nothing else: go there, unless it may be there already."""
    position = positions["market_position"]
    if found.faults & _ACTION_FAULTS or found.values.get("action"):
        return None
    if position is None or position == positions["prev_market_position"]:
        return None
    return {"long": "buy", "short": "sell", "flat": "close"}[position]


_ACTION_FAULTS = {
    MessageCode.AMBIGUOUS_ACTION,
    MessageCode.CONTRADICTORY_ACTION,
    MessageCode.UNRESOLVED_PLACEHOLDER,
    MessageCode.DUPLICATE_KEY,
}


def _positions(found: Found, action: str | None) -> dict[str, Any]:
    now, size = _position(found, "market_position", "position_size")
    was, was_size = _position(found, "prev_market_position", "prev_position_size")
    values: dict[str, Any] = {
        "market_position": now,
        "prev_market_position": was,
        "position_size": size,
        "prev_position_size": was_size,
    }
    entry_side = actions.entry_side(found.all("action"))
    if actions.is_contradicted(action, entry_side, now=now, was=was, size=size, was_size=was_size):
        found.faults.add(MessageCode.CONTRADICTORY_ACTION)
        values["contradicted"] = True
    return values


def _position(found: Found, word_name: str, size_name: str) -> tuple[str | None, Decimal | None]:
    word = None
    size = _size(found, size_name)
    for value in found.all(word_name):
        if isinstance(value, NumberText):
            size = _number_or_none(value) if size is None else size
        elif isinstance(value, str) and PLACEHOLDER.search(value):
            found.faults.add(MessageCode.UNRESOLVED_PLACEHOLDER)
        elif isinstance(value, str) and word is None:
            word = words.POSITIONS.get(words.fold(value[:MAX_SHORT_TEXT]))
    if size is None:
        magnitude = _size(found, word_name + "_size")
        if magnitude is not None:
            size = -magnitude if word == "short" and magnitude > 0 else magnitude
    return word, size


def _size(found: Found, name: str) -> Decimal | None:
    number = found.number(name)
    return number.value if number and number.unit in (None, "base") else None


def _number_or_none(value: NumberText) -> Decimal | None:
    try:
        number = numbers.read(value)
    except numbers.Unreadable:
        return None
    return number.value if number else None


def _ticker(found: Found) -> tuple[str | None, str | None]:
    exchange = found.text("exchange", 60)
    ticker = None
    for value in found.all("ticker"):
        if value is None or value == "":
            continue
        if isinstance(value, str) and PLACEHOLDER.search(value):
            found.faults.add(MessageCode.UNRESOLVED_PLACEHOLDER)
            return None, exchange
        reading = tickers.read(value)
        if reading is None:
            found.faults.add(MessageCode.BAD_TICKER)
            return None, exchange
        symbol, prefix = reading
        if not symbol:
            continue
        if ticker is None:
            ticker, exchange = symbol, exchange or prefix
    if ticker and not tickers.agree(ticker, _named_tickers(found)):
        found.faults.add(MessageCode.BAD_TICKER)
        return None, exchange
    return ticker, exchange


def _named_tickers(found: Found) -> list[str]:
    """The values under ``ticker`` and ``symbol``; other names may hold a market's kind."""
    entries = found.values.get("ticker", ())
    outer = min((depth for depth, _, _ in entries), default=0)
    return [
        value
        for depth, rank, value in entries
        if depth == outer and rank <= 1 and isinstance(value, str)
    ]


def _prices(found: Found, action: str | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "order_type": _order_type(found),
        "limit_price": _price(found, "limit_price"),
        "stop_price": None,
        "stop_loss": _price(found, "stop_loss", percent="stop_loss_pct"),
        "take_profit": _price(found, "take_profit", percent="take_profit_pct"),
        "price": None,
    }
    for name in _PRICES:
        price = values["limit_price"] if name == "limit_price" else _price(found, name)
        if price is not None:
            values["price"] = price
            break
    resting = values["order_type"]
    stated = _price(found, "stop_price")
    if resting in ("stop", "stop_limit"):
        values["stop_price"] = stated or _price(found, "trigger_price")
        if resting == "stop" and values["stop_price"] is None:
            values["stop_price"] = values["price"]
    elif stated is not None and values["stop_loss"] is None:
        values["stop_loss"] = stated
    if values["stop_loss"] is None:
        values["stop_loss"] = _price(found, "stop", percent="stop_loss_pct")
    if resting in ("limit", "stop_limit") and values["limit_price"] is None:
        values["limit_price"] = values["price"]
    values["stop_loss_pct"] = _percent(found, "stop_loss_pct")
    values["take_profit_pct"] = _percent(found, "take_profit_pct")
    return values


def _order_type(found: Found) -> str | None:
    candidates = [*found.all("order_type"), *found.all("action"), *found.all("action_hint")]
    for value in candidates:
        if isinstance(value, str) and len(value) <= MAX_SHORT_TEXT:
            folded = words.fold(value)
            order_type = words.ORDER_TYPES.get(folded) or words.ACTION_ORDER_TYPES.get(folded)
            if order_type:
                return order_type
    return None


def _price(found: Found, name: str, percent: str | None = None) -> Decimal | None:
    """Return an absolute price; zero means that the sender has none."""
    number = found.number(name)
    if number is None or not number.value:
        return None
    if number.unit == "pct" and percent:
        found.put(percent, NumberText(f"{number.value:f}"), rank=9)
        return None
    if number.unit not in (None, "quote") or number.value < 0:
        found.faults.add(MessageCode.AMBIGUOUS_NUMBER)
        found.set_aside.append(name)
        return None
    return number.value


def _percent(found: Found, name: str) -> Decimal | None:
    number = found.number(name)
    return number.value if number and number.value > 0 else None
