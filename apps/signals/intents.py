"""What a signal asks of the desk."""

from decimal import Decimal

from apps.marketdata.models import Instrument
from apps.signals.models import Signal
from apps.trading.intent import Action, Intent
from apps.trading.models import Order
from apps.webhooks.formats import ParsedAlert

HUNDRED = Decimal(100)


def intent_of(signal: Signal, reading: ParsedAlert, instrument: Instrument) -> Intent:
    """Translate a reading into an intent; percentages become fractions here and nowhere else."""
    action = Action(signal.action)
    flat_after = reading.market_position == "flat" and action in (Action.BUY, Action.SELL)
    if flat_after or (reading.reduce_only and action in (Action.BUY, Action.SELL)):
        # Flat after its order, or told to reduce: it is an exit, whatever it is called.
        action = Action.CLOSE_LONG if action == Action.SELL else Action.CLOSE_SHORT
    kind, limit_price, stop_price = _terms(reading)
    return Intent(
        signal_id=signal.pk,
        instrument=instrument,
        action=action,
        created_at=signal.created_at,
        quantity=None if flat_after else signal.quantity,
        quantity_fraction=None if reading.quantity_pct is None else reading.quantity_pct / HUNDRED,
        quantity_quote=reading.quantity_quote,
        target=_target(reading),
        price=signal.price,
        kind=kind,
        limit_price=limit_price,
        stop_price=stop_price,
        stop_loss=signal.stop_loss
        or _away(signal, reading.stop_loss_pct, against=True, limit=limit_price),
        take_profit=signal.take_profit
        or _away(signal, reading.take_profit_pct, against=False, limit=limit_price),
    )


def _terms(reading: ParsedAlert) -> tuple[Order.Kind, Decimal | None, Decimal | None]:
    limit, stop = reading.limit_price or reading.price, reading.stop_price or reading.price
    match reading.order_type:
        case "limit":
            return Order.Kind.LIMIT, limit, None
        case "stop":
            return Order.Kind.STOP, None, stop
        case "stop_limit":
            return Order.Kind.STOP_LIMIT, reading.limit_price, reading.stop_price
    return Order.Kind.MARKET, None, None


def unsupported(reading: ParsedAlert) -> tuple[str, str] | None:
    """What the message asks that no order can express yet: a code and a sentence."""
    if reading.order_type == "trailing_stop":
        return "order_type_not_supported", "Trailing stops cannot be placed yet."
    _, limit, stop = _terms(reading)
    if reading.order_type in ("limit", "stop_limit") and limit is None:
        return "no_limit_price", f"It asks for a {reading.order_type} order and names no price."
    if reading.order_type in ("stop", "stop_limit") and stop is None:
        return "no_stop_price", f"It asks for a {reading.order_type} order and names no stop."
    return None


def _target(reading: ParsedAlert) -> Decimal | None:
    """The signed position the source says it holds now; None when it did not say both."""
    if reading.market_position == "flat":
        return Decimal(0)
    size = reading.position_size
    if size is None:
        return None
    match reading.market_position:
        case "long":
            return abs(size)
        case "short":
            return -abs(size)
    return size


def _away(
    signal: Signal, percent: Decimal | None, *, against: bool, limit: Decimal | None
) -> Decimal | None:
    base = limit or signal.price
    if percent is None or base is None:
        return None
    direction = 1 if signal.action == Action.BUY else -1
    sign = -direction if against else direction
    return (base * (1 + sign * percent / HUNDRED)).quantize(Decimal("1e-10"))
