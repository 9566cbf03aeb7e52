"""Sending: each order is claimed and committed as submitting, sent once, and its answer noted."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connections

from apps.core.ids import uuid7
from apps.core.tenancy import acting_across
from apps.trading import progress
from apps.trading.brokers import BROKERS
from apps.trading.brokers.base import Accepted, Answer, InDoubt, Refused, Ticket
from apps.trading.models import BrokerAccount, Order

BATCH = 500
# An entry that could not be sent for so long is about a market that is gone.
MAX_WAIT = timedelta(seconds=60)


def dispatch(*, now: datetime) -> int:
    """Claim new orders, commit that they are being sent, send them, note the answers."""
    tickets = claim(now=now)
    by_broker: dict[str, list[Ticket]] = defaultdict(list)
    for ticket in tickets:
        by_broker[ticket.account.broker].append(ticket)
    for broker, group in by_broker.items():
        answers = BROKERS[broker].submit(group)
        note_answers(group, answers, now=now)
    return len(tickets)


def claim(*, now: datetime) -> list[Ticket]:
    """Take orders that wait and commit them as submitting; the last look before they are sent.

    The switches and the accounts are share-locked first, so that a halt which has committed is
    seen by every later claim, and none commits between this look and the claim's own commit.
    """
    with acting_across("desk: claim orders"):
        waiting = Order.objects.filter(status=Order.Status.NEW, parent=None)
        found = list(waiting.order_by("created_at").values_list("tenant_id", "account_id")[:BATCH])
        if not found:
            return []
        halted = _share_lock_switches(sorted({tenant_id for tenant_id, _ in found}))
        accounts = _share_lock_accounts(sorted({account_id for _, account_id in found}))
        orders = list(
            waiting.filter(account__in=accounts)
            .select_for_update(skip_locked=True)
            .order_by("created_at")[:BATCH]
        )
        families = _families(orders)
        tickets, changed = [], []
        for order in orders:
            order.account = accounts[order.account_id]
            family = families[order.pk]
            if any(member.status != Order.Status.NEW for member in family):
                # A child whose own fate is still unknown; it will be known soon.
                continue
            changed += family
            if reason := _reason_not_to_send(order, halted, now=now):
                progress.close(family, Order.Status.CANCELED, *reason, now=now)
                continue
            for member in family:
                member.status, member.submitted_at = Order.Status.SUBMITTING, now
                member.sends += 1
            tickets.append(Ticket(order.account, order, tuple(family[1:])))
        progress.save(changed)
        return tickets


def _families(orders: Sequence[Order]) -> dict[UUID, list[Order]]:
    """Each order with the children that go with it, itself first."""
    families = {order.pk: [order] for order in orders}
    rows = Order.objects.select_for_update().filter(parent__in=families, status__in=Order.OPEN)
    for child in rows.order_by("pk"):
        if child.parent_id is not None:
            families[child.parent_id].append(child)
    return families


def _share_lock_accounts(ids: Sequence[UUID]) -> dict[UUID, BrokerAccount]:
    with connections["ops"].cursor() as cursor:
        cursor.execute(
            "SELECT FROM trading_brokeraccount WHERE id = ANY(%s) ORDER BY id FOR SHARE",
            [list(ids)],
        )
    # Read by a statement of its own: it sees what the locks waited for.
    return {account.pk: account for account in BrokerAccount.objects.filter(pk__in=ids)}


def _share_lock_switches(tenants: Sequence[UUID]) -> dict[UUID | None, str]:
    """Halts in force, read under share locks: nobody can throw a switch until this commits."""
    with connections["ops"].cursor() as cursor:
        cursor.execute("SELECT is_halted, reason FROM trading_servicestate FOR SHARE")
        is_halted, reason = cursor.fetchone() or (False, "")
        halted: dict[UUID | None, str] = {None: reason} if is_halted else {}
        rows = _locked_states(tenants)
        if missing := set(tenants) - {row[0] for row in rows}:
            # There must be a row to lock, or the first halt of all would not be waited for.
            cursor.execute(
                "INSERT INTO trading_tradingstate (id, tenant_id, is_halted, reason, flattens)"
                " SELECT id, tenant_id, false, '', false"
                " FROM unnest(%s::uuid[], %s::uuid[]) AS t (id, tenant_id)"
                " ON CONFLICT (tenant_id) DO NOTHING",
                [[uuid7() for _ in missing], sorted(missing)],
            )
            rows = _locked_states(tenants)
        return halted | {tenant_id: reason for tenant_id, is_halted, reason in rows if is_halted}


def _locked_states(tenants: Sequence[UUID]) -> list[tuple[UUID, bool, str]]:
    with connections["ops"].cursor() as cursor:
        cursor.execute(
            "SELECT tenant_id, is_halted, reason FROM trading_tradingstate"
            " WHERE tenant_id = ANY(%s) ORDER BY tenant_id FOR SHARE",
            [list(tenants)],
        )
        return list(cursor.fetchall())


def _reason_not_to_send(
    order: Order, halted: dict[UUID | None, str], *, now: datetime
) -> tuple[str, str] | None:
    if order.cancel_requested_at is not None:
        return "asked", "Canceled before it was sent."
    if order.reduce_only:
        return None
    if None in halted:
        return "halted", f"The service is halted: {halted[None]}"
    if order.tenant_id in halted:
        return "halted", f"Trading is halted: {halted[order.tenant_id]}"
    if order.account.state != BrokerAccount.State.ACTIVE:
        return "halted", f"Account {order.account.name} is {order.account.state}."
    if now - order.created_at > MAX_WAIT:
        waited = (now - order.created_at).total_seconds()
        return "too_late", f"It waited {waited:.0f} s to be sent; {MAX_WAIT.seconds} s are allowed."
    return None


def note_answers(tickets: Sequence[Ticket], answers: dict[str, Answer], *, now: datetime) -> None:
    """Write what the venue said of each submission; no answer at all is doubt."""
    said = {ticket.order.pk: answers.get(ticket.order.client_order_id) for ticket in tickets}
    family = {
        member.pk: ticket.order.pk
        for ticket in tickets
        for member in (ticket.order, *ticket.children)
    }
    symbols = progress.symbols_of([ticket.order for ticket in tickets])
    with acting_across("desk: note answers"):
        rows = Order.objects.select_for_update().filter(
            pk__in=family, status=Order.Status.SUBMITTING
        )
        changed = list(rows.order_by("pk"))
        for order in changed:
            match said[family[order.pk]]:
                case Accepted(venue_order_id):
                    if order.parent_id is None:
                        order.venue_order_id = venue_order_id
                    progress.accept(order, symbols[order.instrument_id], now=now)
                case Refused(code, text):
                    progress.close([order], Order.Status.REJECTED, code, text, now=now)
                case InDoubt(text):
                    progress.doubt(order, text, now=now)
                case None:
                    progress.doubt(order, "The broker gave no answer.", now=now)
        progress.save(changed)
