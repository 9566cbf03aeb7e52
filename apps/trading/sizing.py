"""From an intent to a quantity: what to buy or sell, given what is held already."""

from decimal import ROUND_DOWN, Decimal

from apps.trading import wording
from apps.trading.books import AccountBook
from apps.trading.intent import Action, Intent, Proposal, Refusal
from apps.trading.models import ZERO, Deployment, Order

# The finest that a quantity's column holds.
QUANTITY_STEP = Decimal("1e-8")


def propose(
    intent: Intent, *, deployment: Deployment, book: AccountBook, last_price: Decimal
) -> Proposal | Refusal:
    """Size an intent for one deployment.

    What is held counts orders on their way too: two alerts in one bar see each other.

    Args:
        last_price: quote currency per unit.
    """
    held = book.exposure(intent.instrument.pk)
    price = intent.limit_price or intent.stop_price or last_price
    if intent.action in (Action.CLOSE, Action.CLOSE_LONG, Action.CLOSE_SHORT):
        return _close(intent, held=book.closable(intent.instrument.pk), price=price)
    if intent.action == Action.ADD and held == 0:
        return Refusal(
            "nothing_to_add_to", f"Nothing is held of {intent.instrument.symbol} to add to."
        )
    return _enter(intent, deployment=deployment, book=book, held=held, price=price)


def _close(intent: Intent, *, held: Decimal, price: Decimal) -> Proposal | Refusal:
    symbol = intent.instrument.symbol
    wrong_side = (intent.action == Action.CLOSE_LONG and held < 0) or (
        intent.action == Action.CLOSE_SHORT and held > 0
    )
    if held == 0 or wrong_side:
        what = {Action.CLOSE_LONG: "long ", Action.CLOSE_SHORT: "short "}.get(intent.action, "")
        return Refusal("nothing_to_close", f"There is no {what}position in {symbol} to close.")
    wanted = abs(held)
    if intent.quantity_fraction is not None:
        wanted = _to_lots(min(abs(held), abs(held) * intent.quantity_fraction), intent)
    elif intent.quantity is not None:
        wanted = _to_lots(min(abs(held), intent.quantity), intent)
    if wanted <= 0:
        return _below_lot(intent)
    return _proposal(intent, signed=-wanted if held > 0 else wanted, held=held, price=price)


def _enter(
    intent: Intent, *, deployment: Deployment, book: AccountBook, held: Decimal, price: Decimal
) -> Proposal | Refusal:
    if intent.action == Action.ADD:
        direction = 1 if held > 0 else -1
    else:
        direction = 1 if intent.action == Action.BUY else -1
    target = intent.target
    if direction < 0 and not deployment.allows_short:
        if held <= 0:
            return _short_not_allowed(intent)
        if target is None or target <= 0:
            return _proposal(intent, signed=-held, held=held, price=price)
    if target is not None and deployment.sizing == Deployment.Sizing.SIGNAL:
        return _towards(target, intent, direction=direction, held=held, price=price)
    if target is not None and target * direction < 0:
        return _scale_out(intent, target, direction=direction, held=held, price=price)
    size = _size(intent, deployment=deployment, book=book, price=price)
    if isinstance(size, Refusal):
        return size
    # A reversal closes what is held and opens the size beyond it.
    closing = abs(held) if held * direction < 0 else ZERO
    return _proposal(intent, signed=direction * (closing + size), held=held, price=price)


def _towards(
    target: Decimal, intent: Intent, *, direction: int, held: Decimal, price: Decimal
) -> Proposal | Refusal:
    """What is missing to the position that the source says it holds now."""
    missing = target - held
    if missing * direction <= 0:
        return Refusal(
            "already_there",
            f"The position is {wording.quantity(held)} {intent.instrument.symbol} already;"
            f" the alert's own would be {wording.quantity(target)}.",
        )
    lots = _to_lots(abs(missing), intent)
    if lots <= 0:
        return _below_lot(intent)
    return _proposal(intent, signed=direction * lots, held=held, price=price)


def _scale_out(
    intent: Intent, target: Decimal, *, direction: int, held: Decimal, price: Decimal
) -> Proposal | Refusal:
    """The source sells a part of what it holds: the same part of what is held here."""
    if held * direction >= 0 or intent.quantity is None:
        return Refusal(
            "nothing_to_close",
            f"The alert reduces a position in {intent.instrument.symbol} that is not held here.",
        )
    part = intent.quantity / (abs(target) + intent.quantity)
    lots = _to_lots(abs(held) * part, intent)
    if lots <= 0:
        return _below_lot(intent)
    return _proposal(intent, signed=direction * lots, held=held, price=price)


def _short_not_allowed(intent: Intent) -> Refusal:
    return Refusal(
        "short_not_allowed",
        f"Selling {intent.instrument.symbol} would open a short position, which this"
        " deployment does not allow.",
    )


def _size(
    intent: Intent, *, deployment: Deployment, book: AccountBook, price: Decimal
) -> Decimal | Refusal:
    unit_value = price * intent.instrument.point_value
    gross = unit_value * (1 + intent.instrument.fee_rate)
    match deployment.sizing:
        case Deployment.Sizing.SIGNAL if intent.quantity is not None:
            size = intent.quantity
        case Deployment.Sizing.SIGNAL if intent.quantity_quote is not None:
            size = intent.quantity_quote / unit_value
        case Deployment.Sizing.SIGNAL if intent.quantity_fraction is not None:
            size = book.equity * intent.quantity_fraction / gross
        case Deployment.Sizing.CASH:
            size = deployment.size / unit_value
        case Deployment.Sizing.EQUITY:
            size = book.equity * deployment.size / gross
        case Deployment.Sizing.RISK:
            if intent.stop_loss is None or intent.stop_loss == price:
                return Refusal(
                    "no_stop_to_size_by",
                    "This deployment sizes by the risk to the stop, and the alert names no stop.",
                )
            per_unit = abs(price - intent.stop_loss) * intent.instrument.point_value
            size = book.equity * deployment.size / per_unit
        case _:
            size = deployment.size
    size = _to_lots(size, intent)
    return size if size > 0 else _below_lot(intent)


def _proposal(intent: Intent, *, signed: Decimal, held: Decimal, price: Decimal) -> Proposal:
    closes = min(abs(signed), abs(held)) if signed * held < 0 else ZERO
    is_exit = closes == abs(signed)
    return Proposal(
        instrument=intent.instrument,
        role=Order.Role.EXIT if is_exit else Order.Role.ENTRY,
        side=Order.Side.BUY if signed > 0 else Order.Side.SELL,
        quantity=abs(signed),
        closes=closes,
        price=price,
        kind=intent.kind,
        limit_price=intent.limit_price,
        stop_price=intent.stop_price,
        stop_loss=None if is_exit else intent.stop_loss,
        take_profit=None if is_exit else intent.take_profit,
    )


def _to_lots(quantity: Decimal, intent: Intent) -> Decimal:
    """Down to a whole number of lots: rounding is always towards less risk."""
    lot = max(intent.instrument.lot_size, QUANTITY_STEP)
    return (quantity / lot).to_integral_value(ROUND_DOWN) * lot


def _below_lot(intent: Intent) -> Refusal:
    lot = wording.quantity(intent.instrument.lot_size)
    return Refusal(
        "quantity_below_lot",
        f"The quantity is less than the smallest one of {intent.instrument.symbol}, {lot}.",
    )
