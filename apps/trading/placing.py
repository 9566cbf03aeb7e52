"""From an intent to orders: sizing proposes, risk decides, the order row is the outbox.

Everything here happens in the transaction that decides. The desk process sends what it finds.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import connections

from apps.core.tenancy.context import active_scope
from apps.trading import risk, sizing, wording
from apps.trading.books import AccountBook
from apps.trading.intent import Action, Intent, Proposal, Refusal, Verdict
from apps.trading.models import BrokerAccount, Deployment, Order

# The database tells the desk that orders wait; a wake-up only, the row is the news.
CHANNEL = "pinelab_orders"


def decide(
    intent: Intent,
    *,
    deployment: Deployment,
    book: AccountBook,
    prices: Mapping[UUID, Decimal],
    now: datetime,
) -> Verdict:
    """Decide on one intent at one deployment; the caller writes what the verdict holds.

    Args:
        prices: last price per instrument, quote currency per unit.
    """
    if intent.action == Action.CANCEL:
        book.take_back_entries(deployment.pk, intent.instrument.pk, now=now)
        return Verdict(
            "accepted", "cancel", f"Canceling open orders in {intent.instrument.symbol}."
        )
    last_price = prices.get(intent.instrument.pk)
    if last_price is None:
        return Verdict(
            "rejected",
            "no_price",
            f"No price of {intent.instrument.symbol} is known, so nothing can be sized or checked."
            " Start its feed first.",
        )
    proposal = sizing.propose(intent, deployment=deployment, book=book, last_price=last_price)
    if isinstance(proposal, Refusal):
        return Verdict("rejected", proposal.code, proposal.text)
    passed = risk.check(
        proposal,
        intent=intent,
        book=book,
        last_price=last_price,
        now=now,
        deployment_id=deployment.pk,
    )
    if isinstance(passed, Refusal):
        outcome = "duplicate" if passed.code == "duplicate_order" else "rejected"
        return Verdict(outcome, passed.code, passed.text)

    if passed.proposal.role == Order.Role.EXIT:
        book.take_back_entries(deployment.pk, intent.instrument.pk, now=now)
    orders = _orders(passed, intent=intent, deployment=deployment, last_price=last_price, now=now)
    book.note(orders, value=passed.proposal.value_of(passed.proposal.quantity))
    if passed.reduced:
        before = wording.quantity(proposal.quantity)
        text = f"{_sentence(passed.proposal)} Reduced from {before}: {passed.reduced.text}"
        return Verdict("reduced", passed.reduced.code, text, orders)
    return Verdict("accepted", "ok", _sentence(passed.proposal), orders)


def _orders(
    passed: risk.Passed,
    *,
    intent: Intent,
    deployment: Deployment,
    last_price: Decimal,
    now: datetime,
) -> list[Order]:
    """The order and, for a bracket, the two that wait behind it."""
    proposal = passed.proposal
    shared = {
        "tenant_id": deployment.tenant_id,
        "account_id": deployment.account_id,
        "deployment_id": deployment.pk,
        "instrument_id": proposal.instrument.pk,
        "signal_id": intent.signal_id,
        "risk": passed.record,
        "decision_price": last_price,
        "created_at": now,
    }
    entry = Order(
        client_order_id=client_order_id(intent.signal_id, deployment.pk, 0),
        role=proposal.role,
        side=proposal.side,
        kind=proposal.kind,
        quantity=proposal.quantity,
        limit_price=proposal.limit_price,
        stop_price=proposal.stop_price,
        reduce_only=proposal.opens <= 0,
        **shared,
    )
    away = Order.Side.SELL if proposal.side == Order.Side.BUY else Order.Side.BUY
    orders = [entry]
    for leg, role, kind, price in (
        (1, Order.Role.STOP, Order.Kind.STOP, proposal.stop_loss),
        (2, Order.Role.TARGET, Order.Kind.LIMIT, proposal.take_profit),
    ):
        if price is not None:
            orders.append(
                Order(
                    client_order_id=client_order_id(intent.signal_id, deployment.pk, leg),
                    role=role,
                    parent=entry,
                    side=away,
                    kind=kind,
                    # What the entry opens; the part of it that closed an old position is gone.
                    quantity=proposal.opens,
                    limit_price=price if kind == Order.Kind.LIMIT else None,
                    stop_price=price if kind == Order.Kind.STOP else None,
                    reduce_only=True,
                    **shared,
                )
            )
    return orders


def client_order_id(signal_id: UUID, deployment_id: UUID | None, leg: int) -> str:
    """Our name of an order at the venue: a function of signal, deployment and leg alone."""
    return f"pl-{signal_id.hex}-{deployment_id.hex[-8:] if deployment_id else 'byhand'}-{leg}"


def by_hand(account: BrokerAccount) -> Deployment:
    """What stands in for a deployment when a person orders: sizes are taken as they are said."""
    return Deployment(
        id=None,
        tenant_id=account.tenant_id,
        name="By hand",
        account=account,
        sizing=Deployment.Sizing.SIGNAL,
    )


def wake_desk() -> None:
    """Ring for the desk when this transaction commits; it looks each second anyway."""
    active = active_scope()
    with connections[active[0] if active else "default"].cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])


def _sentence(proposal: Proposal) -> str:
    verb = "Buy" if proposal.side == Order.Side.BUY else "Sell"
    what = f"{verb} {wording.quantity(proposal.quantity)} {proposal.instrument.symbol}"
    at = {
        Order.Kind.MARKET: "at the market",
        Order.Kind.LIMIT: f"at {proposal.limit_price} or better",
        Order.Kind.STOP: f"from {proposal.stop_price} on",
        Order.Kind.STOP_LIMIT: f"from {proposal.stop_price} on,"
        f" at {proposal.limit_price} or better",
    }[proposal.kind]
    return f"{what} {at}."
