"""Numbers as people read them: grouped, with sign and unit, prices at the instrument's tick."""

from decimal import Decimal

from django import template

from apps.marketdata.models import Instrument
from apps.trading import wording

register = template.Library()
MINUS = "−"


@register.filter
def quantity(value: Decimal | None) -> str:
    return "" if value is None else _minus(wording.quantity(value))


@register.filter
def price(value: Decimal | None, instrument: Instrument | None) -> str:
    """At the instrument's tick; as it was written where the instrument is unknown."""
    if value is None:
        return ""
    return wording.price(value, instrument) if instrument else wording.quantity(value)


@register.filter
def money(value: Decimal | None, currency: str) -> str:
    return "" if value is None else _minus(wording.money(value, currency))


@register.filter
def signed_money(value: Decimal | None, currency: str) -> str:
    """With its sign, which tells a gain from a loss to those who see no colour."""
    if value is None:
        return ""
    return f"{_sign(round(value, 2))}{wording.money(abs(value), currency)}"


@register.filter
def percent(fraction: Decimal | float | None) -> str:
    return "" if fraction is None else _minus(wording.percent(Decimal(str(fraction))))


@register.filter
def signed_percent(fraction: Decimal | None) -> str:
    if fraction is None:
        return ""
    return f"{_sign(round(fraction, 4))}{wording.percent(abs(fraction))}"


@register.filter
def tone(value: Decimal | None) -> str:
    """The class that colours a gain or a loss."""
    if not value:
        return ""
    return "gain" if value > 0 else "loss"


@register.filter
def minus(value: Decimal, other: Decimal) -> Decimal:
    return value - other


@register.filter
def fraction_of(value: Decimal, whole: Decimal | None) -> Decimal | None:
    """None where there is nothing to compare with."""
    return value / whole if whole else None


@register.filter
def words(code: str) -> str:
    """A stable code as words: partially_filled, close_long."""
    return code.replace("_", " ").capitalize()


def _sign(value: Decimal) -> str:
    return "+" if value > 0 else MINUS if value < 0 else ""


def _minus(text: str) -> str:
    return text.replace("-", MINUS, 1) if text.startswith("-") else text
