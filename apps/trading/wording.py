"""Numbers in sentences: grouped, without trailing zeros, at the instrument's tick."""

from decimal import Decimal

from apps.marketdata.models import Instrument


def quantity(value: Decimal) -> str:
    return f"{value.normalize():,f}".replace("-", "−")


def price(value: Decimal, instrument: Instrument) -> str:
    places = max(0, -int(instrument.tick_size.normalize().as_tuple().exponent))
    return f"{value:,.{places}f}"


def money(value: Decimal, currency: str) -> str:
    return f"{value:,.2f} {currency}"


def percent(fraction: Decimal) -> str:
    return f"{fraction * 100:.2f} %"


def plain(value: Decimal) -> str:
    """For a machine: no grouping, no exponent, no trailing zeros."""
    return f"{value.normalize():f}"
