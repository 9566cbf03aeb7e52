"""Reads of signals: lists for pages and API, and what became of one."""

from uuid import UUID

from django.db.models import Exists, OuterRef, Prefetch, QuerySet

from apps.signals.models import Decision, Signal
from apps.trading.models import Order


def signals(*, ticker: str = "", action: str = "", outcome: str = "") -> QuerySet[Signal]:
    """Signals with their decisions; an empty filter lets everything pass."""
    rows: QuerySet[Signal] = Signal.objects.prefetch_related(
        Prefetch("decisions", Decision.objects.order_by("pk"))
    )
    if ticker:
        rows = rows.filter(ticker__iexact=ticker)
    if action:
        rows = rows.filter(action=action)
    if outcome:
        decided = Decision.objects.filter(signal=OuterRef("pk"), outcome=outcome)
        rows = rows.filter(Exists(decided))
    return rows


def order_ids(signal: Signal) -> list[UUID]:
    """The orders written for a signal, oldest first."""
    found = Order.objects.filter(signal_id=signal.pk).order_by("pk")
    return list(found.values_list("pk", flat=True))
