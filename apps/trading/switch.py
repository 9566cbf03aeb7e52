"""The kill switch: no new orders at once, open ones canceled, positions flattened if chosen.

There are three, one inside another: the operator's over all tenants, a tenant's, an account's.
Each is a row that the desk locks for sharing before it claims orders, so that from the commit of
a halt on no entry is claimed. Exits and cancellations always pass.
"""

from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from apps.core import events
from apps.core.errors import NotFound
from apps.core.ids import uuid7
from apps.core.tenancy import acting_across
from apps.marketdata import selectors as market
from apps.trading import placing
from apps.trading.models import BrokerAccount, Order, Position, ServiceState, TradingState

# A broker that refuses to flatten is asked again, but not each second.
FLATTEN_AGAIN = timedelta(seconds=60)


# --- a tenant's ----------------------------------------------------------------------------------


def halt(*, reason: str, flatten: bool, now: datetime) -> TradingState:
    """Stop the tenant's trading; what is open is canceled, and closed if ``flatten``.

    Throwing it again is allowed.
    """
    state = _locked_state()
    state.is_halted, state.halted_at = True, now
    state.reason, state.flattens = reason[:200], flatten
    state.save()
    canceled = cancel_entries(Order.objects.all(), now=now)
    flattened = _flatten(Position.objects.all(), now=now) if flatten else 0
    events.append(
        kind="trading.halted",
        subject="switch",
        subject_id=state.pk,
        at=now,
        text=f"Trading halted: {reason}. {_counted(canceled, flattened)}",
        payload={"reason": reason, "canceled": canceled, "flattened": flattened},
    )
    placing.wake_desk()
    return state


def resume(*, now: datetime) -> TradingState:
    """Let the tenant trade again; nothing that was canceled comes back."""
    state = _locked_state()
    state.is_halted, state.flattens = False, False
    state.save()
    events.append(
        kind="trading.resumed",
        subject="switch",
        subject_id=state.pk,
        at=now,
        text="Trading resumed.",
    )
    return state


def state() -> TradingState:
    """The switch as it stands; not halted when it was never thrown."""
    return TradingState.objects.first() or TradingState()


def _locked_state() -> TradingState:
    TradingState.objects.bulk_create([TradingState()], ignore_conflicts=True)
    return TradingState.objects.select_for_update().get()


# --- an account's --------------------------------------------------------------------------------


def halt_account(*, account_id: UUID, reason: str, flatten: bool, now: datetime) -> BrokerAccount:
    """Stop one account's trading.

    Raises:
        NotFound: there is no such account.
    """
    account = _locked_account(account_id)
    account.state, account.flattens = BrokerAccount.State.HALTED, flatten
    account.save(update_fields=["state", "flattens"])
    canceled = cancel_entries(Order.objects.filter(account=account), now=now)
    held = Position.objects.filter(account=account)
    flattened = _flatten(held, now=now) if flatten else 0
    events.append(
        kind="account.halted",
        subject="account",
        subject_id=account.pk,
        at=now,
        tenant_id=account.tenant_id,
        text=f"{account.name} halted: {reason}. {_counted(canceled, flattened)}",
        payload={"reason": reason, "canceled": canceled, "flattened": flattened},
    )
    placing.wake_desk()
    return account


def resume_account(*, account_id: UUID, now: datetime) -> BrokerAccount:
    """Let an account trade again; one that is not in order with its broker is reconciled first.

    Raises:
        NotFound: there is no such account.
    """
    account = _locked_account(account_id)
    in_doubt = Order.objects.filter(account=account, status__in=["submitting", "unknown"])
    unclear = bool(account.differences) or in_doubt.exists()
    states = BrokerAccount.State
    account.state = states.RECONCILING if unclear else states.ACTIVE
    account.flattens = False
    account.save(update_fields=["state", "flattens"])
    events.append(
        kind="account.resumed",
        subject="account",
        subject_id=account.pk,
        at=now,
        tenant_id=account.tenant_id,
        text=f"{account.name} resumed.",
        payload={"state": account.state},
    )
    placing.wake_desk()
    return account


def _locked_account(account_id: UUID) -> BrokerAccount:
    account = BrokerAccount.objects.select_for_update(no_key=True).filter(pk=account_id).first()
    if account is None:
        raise NotFound("There is no such account.")
    return account


# --- the operator's ------------------------------------------------------------------------------


def halt_service(*, reason: str, flatten: bool, now: datetime) -> tuple[int, int]:
    """Stop all tenants' trading; how many entries are canceled and positions closed."""
    with acting_across("switch: halt the service"):
        service = ServiceState.objects.select_for_update().get()
        service.is_halted, service.halted_at = True, now
        service.reason, service.flattens = reason[:200], flatten
        service.save()
        canceled = cancel_entries(Order.objects.all(), now=now)
        flattened = _flatten(Position.objects.all(), now=now) if flatten else 0
        _tell_everyone("trading.halted", f"The service halted trading: {reason}.", now=now)
        placing.wake_desk()
        return canceled, flattened


def resume_service(*, now: datetime) -> None:
    """Let all tenants trade again who have not halted themselves."""
    with acting_across("switch: resume the service"):
        service = ServiceState.objects.select_for_update().get()
        service.is_halted, service.flattens, service.reason = False, False, ""
        service.save()
        _tell_everyone("trading.resumed", "The service resumed trading.", now=now)


def _tell_everyone(kind: str, text: str, *, now: datetime) -> None:
    for tenant_id in BrokerAccount.objects.values_list("tenant_id", flat=True).distinct():
        events.append(
            kind=kind,
            subject="switch",
            subject_id=tenant_id,
            at=now,
            tenant_id=tenant_id,
            text=text,
            payload={"by": "operator"},
        )


# --- what a halt does ----------------------------------------------------------------------------


def cancel_entries(orders: QuerySet[Order], *, now: datetime) -> int:
    """Ask for the open entries among ``orders`` to be canceled; how many were not asked yet.

    Stops and targets of what is held stay: they protect it. Those that wait for an entry go with
    it.
    """
    entries = orders.filter(
        status__in=Order.OPEN, reduce_only=False, cancel_requested_at=None
    ).exclude(role=Order.Role.ADJUST)
    # Locked in the order that everybody keeps.
    ids = [row.pk for row in entries.select_for_update(of=("self",)).only("pk").order_by("pk")]
    Order.objects.filter(pk__in=ids).update(cancel_requested_at=now)
    return len(ids)


def flatten_what_is_left(*, now: datetime) -> int:
    """Close what halts with ``flatten`` have not: an entry may fill before its cancellation."""
    with acting_across("switch: flatten what is left"):
        service = ServiceState.objects.filter(is_halted=True, flattens=True)
        tenants = TradingState.objects.filter(is_halted=True, flattens=True)
        halted = Q(tenant__in=list(tenants.values_list("tenant_id", flat=True))) | Q(
            account__state=BrokerAccount.State.HALTED, account__flattens=True
        )
        held = Position.objects.all() if service.exists() else Position.objects.filter(halted)
        return _flatten(held, now=now)


def _flatten(positions: QuerySet[Position], *, now: datetime) -> int:
    asked = Order.objects.filter(
        Q(status__in=Order.OPEN) | Q(status="rejected", closed_at__gt=now - FLATTEN_AGAIN),
        account=OuterRef("account"),
        instrument=OuterRef("instrument"),
        role=Order.Role.FLATTEN,
    )
    open_ = list(positions.exclude(quantity=0).exclude(Exists(asked)))
    prices = market.last_prices({row.instrument_id for row in open_})
    act = uuid7()
    Order.objects.bulk_create(
        Order(
            tenant_id=row.tenant_id,
            client_order_id=placing.client_order_id(act, row.pk, 0),
            account_id=row.account_id,
            instrument_id=row.instrument_id,
            role=Order.Role.FLATTEN,
            side=Order.Side.SELL if row.quantity > 0 else Order.Side.BUY,
            kind=Order.Kind.MARKET,
            quantity=abs(row.quantity),
            reduce_only=True,
            risk={"passed": True, "limits": [], "reason": "flattens"},
            decision_price=prices.get(row.instrument_id),
            created_at=now,
        )
        for row in open_
    )
    return len(open_)


def _counted(canceled: int, flattened: int) -> str:
    text = f"{canceled} open orders are being canceled"
    return f"{text}, {flattened} positions closed." if flattened else f"{text}."
