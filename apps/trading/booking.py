"""Fills become positions and trades: each execution is booked once, in the account's order."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, localcontext
from uuid import UUID

from apps.core import bulk, events
from apps.core.ids import uuid7
from apps.marketdata.models import Instrument
from apps.trading import wording
from apps.trading.brokers.base import Execution
from apps.trading.models import (
    BrokerAccount,
    Fill,
    Order,
    Position,
    Trade,
)
from apps.trading.positions import EXACT, MONEY_STEP, Effect, Holding, apply_fill

PRICE_STEP = Decimal("1e-10")
ORDER_FIELDS = (
    "filled_quantity",
    "filled_value",
    "status",
    "status_code",
    "status_text",
    "closed_at",
    "accepted_at",
)


@dataclass(slots=True)
class Ledger:
    """The rows a batch of executions changes, read and locked once."""

    accounts: dict[UUID, BrokerAccount]
    orders: dict[tuple[UUID, str], Order]
    positions: dict[tuple[UUID, UUID], Position]
    trades: dict[tuple[UUID, UUID], Trade]
    instruments: dict[UUID, Instrument]
    fills: list[Fill] = field(default_factory=list)
    touched_trades: dict[UUID, Trade] = field(default_factory=dict)
    touched_orders: dict[UUID, Order] = field(default_factory=dict)
    touched_positions: dict[tuple[UUID, UUID], Position] = field(default_factory=dict)


def book(executions: Sequence[Execution], *, now: datetime) -> list[Fill]:
    """Book executions; those below their account's cursor are booked already and skipped.

    Locks accounts, then orders, then positions: the order everybody keeps. An execution that no
    order of ours can take (a foreign order, more than was left, an order at its end) is told, and
    the account is reconciled: its books then differ from the broker's until a person decides.
    """
    with localcontext(EXACT):
        ledger = _open(executions)
        for execution in executions:
            account = ledger.accounts[execution.account_id]
            if execution.sequence <= account.execution_cursor:
                continue
            account.execution_cursor = execution.sequence
            order = ledger.orders.get((execution.account_id, execution.client_order_id))
            if reason := _reason_not_to_book(order, execution):
                _set_aside(account, execution, reason, now=now)
            elif order is not None:
                _book_one(ledger, execution, order, now=now)
        _write(ledger)
    return ledger.fills


def book_adjustment(execution: Execution, *, now: datetime) -> list[Fill]:
    """Book one execution that is ours to make up, outside the broker's sequence."""
    with localcontext(EXACT):
        ledger = _open([execution])
        _book_one(
            ledger, execution, ledger.orders[execution.account_id, execution.client_order_id],
            now=now,
        )  # fmt: skip
        _write(ledger)
    return ledger.fills


def _reason_not_to_book(order: Order | None, execution: Execution) -> str:
    if order is None:
        return "no order of ours has this name"
    if not order.is_open:
        return f"the order is {order.status}"
    if order.side != execution.side:
        return f"the order is to {order.side}"
    if execution.quantity > order.remaining_quantity:
        return f"the order has {wording.quantity(order.remaining_quantity)} left"
    return ""


def _set_aside(account: BrokerAccount, execution: Execution, reason: str, *, now: datetime) -> None:
    if account.state == BrokerAccount.State.ACTIVE:
        account.state = BrokerAccount.State.RECONCILING
    events.append(
        kind="execution.set_aside",
        subject="account",
        subject_id=account.pk,
        at=now,
        tenant_id=account.tenant_id,
        text=f"{account.name}: the broker reports that {execution.client_order_id}"
        f" {execution.side} {wording.quantity(execution.quantity)} was filled, but {reason}."
        " No entries until this is reconciled.",
        payload={
            "execution": execution.execution_id,
            "client_order_id": execution.client_order_id,
            "side": execution.side,
            "quantity": str(execution.quantity),
            "price": str(execution.price),
        },
    )


def _open(executions: Sequence[Execution]) -> Ledger:
    accounts = {
        row.pk: row
        for row in BrokerAccount.objects.select_for_update(no_key=True)
        .filter(pk__in={execution.account_id for execution in executions})
        .order_by("pk")
    }
    names = {execution.client_order_id for execution in executions}
    orders = {
        (row.account_id, row.client_order_id): row
        for row in Order.objects.select_for_update()
        .filter(account__in=accounts, client_order_id__in=names)
        .order_by("pk")
    }
    instruments = {
        row.pk: row
        for row in Instrument.objects.filter(pk__in={row.instrument_id for row in orders.values()})
    }
    positions = {
        (row.account_id, row.instrument_id): row
        for row in Position.objects.select_for_update()
        .filter(account__in=accounts, instrument__in=instruments)
        .order_by("pk")
    }
    trades = {
        (row.account_id, row.instrument_id): row
        for row in Trade.objects.filter(
            account__in=accounts, instrument__in=instruments, closed_at=None
        )
    }
    return Ledger(accounts, orders, positions, trades, instruments)


def _book_one(ledger: Ledger, execution: Execution, order: Order, *, now: datetime) -> None:
    account = ledger.accounts[order.account_id]
    instrument = ledger.instruments[order.instrument_id]
    key = (order.account_id, order.instrument_id)
    position = ledger.positions.setdefault(
        key,
        Position(
            tenant_id=order.tenant_id, account_id=order.account_id, instrument_id=instrument.pk
        ),
    )
    # As the columns will hold them, so that what is computed from them is what is stored.
    execution = replace(
        execution,
        price=execution.price.quantize(PRICE_STEP),
        fee=execution.fee.quantize(MONEY_STEP),
    )
    sign = 1 if order.side == Order.Side.BUY else -1
    effect = apply_fill(
        Holding(position.quantity, position.cost),
        signed=sign * execution.quantity,
        price=execution.price,
        point_value=instrument.point_value,
    )
    position.quantity, position.cost = effect.holding.quantity, effect.holding.cost
    position.realized += effect.realized
    position.fees += execution.fee
    position.updated_at = now
    account.cash -= sign * effect.value + execution.fee
    ledger.touched_positions[key] = position

    trade = _trade(ledger, order, execution, effect, now=now)
    fill = Fill(
        tenant_id=order.tenant_id,
        order=order,
        account_id=order.account_id,
        instrument_id=instrument.pk,
        trade=trade,
        execution_id=execution.execution_id,
        side=order.side,
        quantity=execution.quantity,
        price=execution.price,
        fee=execution.fee,
        realized=effect.realized,
        executed_at=execution.executed_at,
        booked_at=now,
    )
    ledger.fills.append(fill)
    _progress(ledger, order, execution, now=now)
    _tell(fill, order=order, instrument=instrument, position=position, trade=trade)


def _trade(
    ledger: Ledger, order: Order, execution: Execution, effect: Effect, *, now: datetime
) -> Trade:
    """The trade the fill belongs to; a fill that crosses zero closes one and opens the next."""
    key = (order.account_id, order.instrument_id)
    trade = ledger.trades.get(key)
    # The fee is shared by the two in proportion; the rest of the rounding goes to the new one.
    share = effect.closed / execution.quantity
    closing_fee = (execution.fee * share).quantize(MONEY_STEP) if effect.opened else execution.fee
    if effect.closed:
        if trade is None:
            raise AssertionError(f"order {order.pk} closes a position that no trade holds")
        trade.exit_quantity += effect.closed
        trade.exit_value += effect.closed_value
        trade.fees += closing_fee
        trade.profit += effect.realized - closing_fee
        trade.exit_role = order.role
        ledger.touched_trades[trade.pk] = trade
        if trade.exit_quantity == trade.entry_quantity:
            trade.closed_at = execution.executed_at
            ledger.trades.pop(key)
            _tell_closed(trade, ledger.instruments[order.instrument_id], now=now)
    if trade is not None and not effect.opened:
        return trade
    return _opened_trade(ledger, order, execution, effect, fee=execution.fee - closing_fee)


def _opened_trade(
    ledger: Ledger, order: Order, execution: Execution, effect: Effect, *, fee: Decimal
) -> Trade:
    key = (order.account_id, order.instrument_id)
    trade = ledger.trades.get(key)
    if trade is None:
        trade = ledger.trades[key] = Trade(
            id=uuid7(),
            tenant_id=order.tenant_id,
            account_id=order.account_id,
            instrument_id=order.instrument_id,
            deployment_id=order.deployment_id,
            direction="long" if order.side == Order.Side.BUY else "short",
            opened_at=execution.executed_at,
        )
    trade.entry_quantity += effect.opened
    trade.entry_value += effect.opened_value
    trade.fees += fee
    trade.profit -= fee
    ledger.touched_trades[trade.pk] = trade
    return trade


def _progress(ledger: Ledger, order: Order, execution: Execution, *, now: datetime) -> None:
    order.filled_quantity += execution.quantity
    order.filled_value += execution.quantity * execution.price
    if order.remaining_quantity == 0:
        order.status, order.closed_at = Order.Status.FILLED, now
    else:
        order.status = Order.Status.PARTIALLY_FILLED
    # A fill ends every doubt about whether it arrived.
    order.status_code = order.status_text = ""
    order.accepted_at = order.accepted_at or now
    ledger.touched_orders[order.pk] = order


def _write(ledger: Ledger) -> None:
    bulk.update(ledger.accounts.values(), ["cash", "execution_cursor", "state"])
    bulk.update(ledger.touched_orders.values(), ORDER_FIELDS)
    Position.objects.bulk_create(
        ledger.touched_positions.values(),
        update_conflicts=True,
        unique_fields=["tenant", "account", "instrument"],
        update_fields=["quantity", "cost", "realized", "fees", "updated_at"],
    )
    # Closed trades first: at most one open trade per instrument, checked row by row.
    trades = sorted(ledger.touched_trades.values(), key=lambda trade: trade.closed_at is None)
    Trade.objects.bulk_create(
        trades,
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=[
            "entry_quantity",
            "entry_value",
            "exit_quantity",
            "exit_value",
            "fees",
            "profit",
            "closed_at",
            "exit_role",
        ],
    )
    bulk.insert(ledger.fills)


def _tell(
    fill: Fill, *, order: Order, instrument: Instrument, position: Position, trade: Trade
) -> None:
    verb = "Bought" if order.side == Order.Side.BUY else "Sold"
    text = (
        f"{verb} {wording.quantity(fill.quantity)} {instrument.symbol}"
        f" at {wording.price(fill.price, instrument)}"
    )
    done = order.status == Order.Status.FILLED
    events.append(
        kind="order.filled" if done else "order.partially_filled",
        subject="order",
        subject_id=order.pk,
        at=fill.booked_at,
        tenant_id=order.tenant_id,
        text=text,
        payload={
            "fill": str(fill.pk),
            "account": str(order.account_id),
            "instrument": str(instrument.pk),
            "side": order.side,
            "quantity": str(fill.quantity),
            "price": str(fill.price),
            "fee": str(fill.fee),
            "role": order.role,
            "signal": str(order.signal_id) if order.signal_id else None,
            "trade": str(trade.pk),
            "executed_at": fill.executed_at.isoformat(),
        },
    )
    held = wording.quantity(position.quantity)
    events.append(
        kind="position.changed",
        subject="position",
        subject_id=position.pk,
        at=fill.booked_at,
        tenant_id=order.tenant_id,
        text=f"Position in {instrument.symbol} is {held}"
        if position.quantity
        else f"Flat in {instrument.symbol}",
        payload={
            "account": str(order.account_id),
            "instrument": str(instrument.pk),
            "quantity": str(position.quantity),
        },
    )


def _tell_closed(trade: Trade, instrument: Instrument, *, now: datetime) -> None:
    sign = "+" if trade.profit >= 0 else "−"
    events.append(
        kind="trade.closed",
        subject="trade",
        subject_id=trade.pk,
        at=now,
        tenant_id=trade.tenant_id,
        text=f"Closed {trade.direction} {wording.quantity(trade.entry_quantity)}"
        f" {instrument.symbol}: {sign}{wording.money(abs(trade.profit), instrument.currency)}",
        payload={
            "account": str(trade.account_id),
            "instrument": str(trade.instrument_id),
            "deployment": str(trade.deployment_id) if trade.deployment_id else None,
            "profit": str(trade.profit),
            "opened_at": trade.opened_at.isoformat(),
            "closed_at": trade.closed_at.isoformat() if trade.closed_at else None,
        },
    )
