"""How much: quantities in base units, percent, quote currency or risk, and their contradictions."""

from decimal import Decimal
from typing import Any

from apps.webhooks import numbers, words
from apps.webhooks.bodies import clean
from apps.webhooks.fields import MAX_SHORT_TEXT, PLACEHOLDER, Found
from apps.webhooks.numbers import NumberText
from apps.webhooks.readings import MessageCode

Tree = Any


def read(
    found: Found, action: str | None, ticker: str | None, positions: dict[str, Any]
) -> dict[str, Decimal | None]:
    """Return the sizes of an order, as fields of the reading, and note what is wrong with them."""
    stated: dict[str, set[Decimal]] = {name: set() for name in _QUANTITY_OF.values()}
    # OpenAlgo sends quantity 0 with the position to reach: the size is then not this field's.
    may_be_zero = positions["position_size"] is not None
    for field_name, unit in _units(found):
        for raw in found.all(field_name):
            number = _number(found, raw)
            if number is None or (may_be_zero and not number.value):
                continue
            name = _name(number, unit, ticker)
            fault = _fault(name, number.value, action)
            if fault:
                found.faults.add(fault)
            elif name:
                stated[name].add(abs(number.value))
    if any(len(values) > 1 for values in stated.values()):
        found.faults.add(MessageCode.CONTRADICTORY_QUANTITY)
    return {
        name: next(iter(values)) if len(values) == 1 else None for name, values in stated.items()
    }


def _units(found: Found) -> tuple[tuple[str, str | None], ...]:
    word = found.first("quantity_unit")
    unit = None
    if isinstance(word, str):
        unit = words.UNITS.get(words.fold(word[:MAX_SHORT_TEXT]), word)
    return (
        ("quantity", unit),
        ("quantity_pct", "pct"),
        ("quantity_quote", "quote"),
        ("risk", "risk"),
    )


def _name(number: numbers.Number, unit: str | None, ticker: str | None) -> str | None:
    if unit == "risk":
        # "risk": "1%" is the risk, not the size; "$50" is a risk that no field here can hold.
        return "risk" if number.unit in (None, "pct") else None
    return _QUANTITY_OF.get(_unit(number.unit or unit, ticker) or "")


def _fault(name: str | None, value: Decimal, action: str | None) -> MessageCode | None:
    if name is None or not value:
        return MessageCode.BAD_QUANTITY
    if value < 0 and action in ("buy", "add", "close_short", None):
        return MessageCode.CONTRADICTORY_QUANTITY
    return None


_QUANTITY_OF = {
    "base": "quantity",
    "pct": "quantity_pct",
    "quote": "quantity_quote",
    "risk": "risk",
}


def _number(found: Found, raw: Tree) -> numbers.Number | None:
    if isinstance(raw, str) and PLACEHOLDER.search(raw):
        found.faults.add(MessageCode.UNRESOLVED_PLACEHOLDER)
        return None
    if isinstance(raw, str) and not isinstance(raw, NumberText):
        raw = clean(numbers.ascii_digits(raw))
    if isinstance(raw, bool | dict | list):
        found.faults.add(MessageCode.BAD_QUANTITY)
        return None
    try:
        number = numbers.read(raw)
    except numbers.Ambiguous:
        found.faults.add(MessageCode.AMBIGUOUS_NUMBER)
        return None
    except numbers.Unreadable:
        found.faults.add(MessageCode.BAD_QUANTITY)
        return None
    if number is None and isinstance(raw, str) and raw.strip().lower() in words.NO_NUMBERS:
        found.faults.add(MessageCode.BAD_QUANTITY)
    return number


def _unit(unit: str | None, ticker: str | None) -> str | None:
    if unit is None:
        return "base"
    if unit in _QUANTITY_OF:
        return unit
    # "0.5 BTC" of BTCUSDT is half a bitcoin; "0.5 BTC" of ETHBTC is not half an ether.
    return "base" if ticker and ticker.upper().startswith(unit.upper()) else None
