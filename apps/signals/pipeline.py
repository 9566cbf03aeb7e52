"""From stored alerts to decisions and orders: one batch, one transaction.

    alert ─read─▶ signal ─enrich, score─▶ decide (freshness, sizing, risk) ─▶ decision, orders

Alerts are taken with SKIP LOCKED and everything that follows from them is written in the same
commit: killed anywhere, a batch has happened or has not, and each alert ends with exactly one
decision for each deployment it reaches.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import reduce
from operator import or_
from uuid import UUID

from django.db import InterfaceError, OperationalError, connections
from django.db.models import Q

from apps.core import bulk, events
from apps.core.tenancy import acting_across
from apps.marketdata import selectors as market
from apps.marketdata.models import Instrument
from apps.signals import enrichment, freshness, scoring
from apps.signals.freshness import Freshness
from apps.signals.intents import intent_of, unsupported
from apps.signals.models import Decision, Signal
from apps.trading import books, placing, switch
from apps.trading.books import AccountBook
from apps.trading.intent import Verdict
from apps.trading.models import Deployment, Order
from apps.webhooks import formats
from apps.webhooks.formats import ParsedAlert
from apps.webhooks.models import Alert, Endpoint

# A tenant and its endpoint.
Source = tuple[UUID, UUID]
BATCH = 500
log = logging.getLogger("pinelab.pipeline")


@dataclass(slots=True)
class Case:
    """One alert on its way to its decisions."""

    alert: Alert
    endpoint: Endpoint
    reading: ParsedAlert
    instrument: Instrument | None = None
    signal: Signal | None = None

    @property
    def source(self) -> Source:
        return self.alert.tenant_id, self.endpoint.pk


@dataclass(slots=True)
class Outcome:
    """What a batch writes."""

    signals: list[Signal] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    # Deployment and instrument whose open entries go.
    cancels: set[tuple[UUID, UUID]] = field(default_factory=set)


def take(*, limit: int = BATCH) -> int:
    """Decide on the alerts that wait, at most ``limit``; how many there were.

    An alert that cannot be decided on because of a bug must not stop the others: its batch is
    then taken one by one, and it is set aside with code ``internal_error``.
    """
    try:
        return len(_take(limit))
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        log.exception("a batch of alerts failed; taking them one by one")
        return _take_singly(limit)


def _take(limit: int, *, only: UUID | None = None) -> list[UUID]:
    with acting_across("pipeline: decide on alerts"):
        alerts = _waiting(limit, only)
        if alerts:
            # The database's clock: it also stamped the arrivals.
            now = database_now()
            cases = [Case(row, row.endpoint, formats.parse(bytes(row.body))) for row in alerts]
            _identify(cases)
            outcome = _decide_all(cases, now=now)
            _write(cases, outcome, now=now)
        return [alert.pk for alert in alerts]


def _waiting(limit: int, only: UUID | None = None) -> list[Alert]:
    waiting = Alert.objects.filter(status=Alert.Status.STORED).order_by("received_at")
    if only:
        waiting = waiting.filter(pk=only)
    # Whole endpoints: were two pipelines to share one, the alert decided first would overtake the
    # one before it. The intake's own lock on the row is compatible with this one.
    endpoints = Endpoint.objects.select_for_update(skip_locked=True, no_key=True).filter(
        pk__in=waiting.values("endpoint_id")[:limit]
    )
    rows = waiting.filter(endpoint__in=list(endpoints.order_by("pk").values_list("pk", flat=True)))
    return list(
        rows.select_for_update(skip_locked=True, of=("self",)).select_related(
            "endpoint", "replay_of"
        )[:limit]
    )


def _take_singly(limit: int) -> int:
    with acting_across("pipeline: after a failure"):
        waiting = [alert.pk for alert in _waiting(limit)]
    for alert_id in waiting:
        try:
            _take(1, only=alert_id)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            log.exception("alert %s is set aside", alert_id)
            _set_aside(alert_id)
    return len(waiting)


def _set_aside(alert_id: UUID) -> None:
    with acting_across("pipeline: set an alert aside"):
        for alert in _waiting(1, only=alert_id):
            now = database_now()
            case = Case(alert, alert.endpoint, ParsedAlert())
            outcome = Outcome()
            verdict = Verdict(
                "rejected",
                "internal_error",
                "Deciding on this alert failed on our side. It is kept and can be replayed.",
            )
            _note(outcome, case, None, verdict, now=now)
            _write([case], outcome, now=now)


def database_now() -> datetime:
    with connections["ops"].cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]  # type: ignore[no-any-return]


def _identify(cases: Sequence[Case]) -> None:
    """Find the instruments that the messages name."""
    named = {(case.reading.ticker, case.reading.exchange) for case in cases if case.reading.ticker}
    found = market.instruments_by_ticker(named)
    for case in cases:
        if case.reading.ticker:
            case.instrument = found.get((case.reading.ticker, case.reading.exchange))


def _decide_all(cases: Sequence[Case], *, now: datetime) -> Outcome:
    outcome = Outcome()
    instruments = {case.instrument.pk: case.instrument for case in cases if case.instrument}
    prices = market.last_prices(instruments)
    features = enrichment.features(instruments.values())
    for case in cases:
        case.signal = _signal(case, features, now=now)
        if case.signal:
            outcome.signals.append(case.signal)
    scoring.scorer().score(outcome.signals)

    deployments = _deployments(cases)
    marks = {pk: price * instruments[pk].point_value for pk, price in prices.items()}
    accounts = {row.account_id for rows in deployments.values() for row in rows}
    account_books = books.load(accounts, marks=marks, now=now)
    fresh = freshness.load([(case.endpoint, case.signal, case.reading) for case in cases])
    # In the order in which they fired, as far as they say; arrival decides the rest.
    for case in sorted(cases, key=lambda case: case.reading.fired_at or case.alert.received_at):
        for deployment, verdict in _decide(
            case, deployments[case.source], account_books, prices, fresh, now=now
        ):
            _note(outcome, case, deployment, verdict, now=now)
    fresh.save()
    return outcome


def _signal(
    case: Case, features: Mapping[UUID, dict[str, float]], *, now: datetime
) -> Signal | None:
    reading = case.reading
    if reading.action is None or reading.ticker is None:
        return None
    return Signal(
        tenant_id=case.alert.tenant_id,
        alert=case.alert,
        instrument=case.instrument,
        ticker=enrichment.storable(reading.ticker)[:64],
        action=reading.action,
        quantity=_within(reading.quantity, 16, 8),
        price=_within(reading.price, 10, 10),
        stop_loss=_within(reading.stop_loss, 10, 10),
        take_profit=_within(reading.take_profit, 10, 10),
        strategy=enrichment.storable(reading.strategy or "")[:120],
        timeframe=enrichment.storable(reading.timeframe or "")[:16],
        fired_at=reading.fired_at,
        created_at=now,
        reading=enrichment.reading_of(reading),
        features=features.get(case.instrument.pk, {}) if case.instrument else {},
    )


def _within(value: Decimal | None, whole: int, places: int) -> Decimal | None:
    """The value where its column can hold it; the message itself is kept in any case."""
    if value is None or abs(value) >= Decimal(10) ** whole:
        return None
    return value.quantize(Decimal(1).scaleb(-places))


def _deployments(cases: Sequence[Case]) -> dict[Source, list[Deployment]]:
    """The deployments of each endpoint; one that another tenant names is nobody's."""
    found: dict[Source, list[Deployment]] = defaultdict(list)
    for row in Deployment.objects.filter(
        source=Deployment.Source.ENDPOINT,
        source_id__in={case.endpoint.pk for case in cases},
        is_active=True,
    ).order_by("pk"):
        found[row.tenant_id, row.source_id].append(row)
    return found


def _decide(
    case: Case,
    deployments: Sequence[Deployment],
    account_books: Mapping[UUID, AccountBook],
    prices: Mapping[UUID, Decimal],
    fresh: Freshness,
    *,
    now: datetime,
) -> Iterator[tuple[Deployment | None, Verdict]]:
    if (early := _before_any_deployment(case, deployments, fresh, now=now)) is not None:
        yield None, early
        return
    if case.signal is None or case.instrument is None:
        raise AssertionError("a case without a signal was not refused")
    fresh.note(case.endpoint, case.signal, case.reading, case.alert, now=now)
    intent = intent_of(case.signal, case.reading, case.instrument)
    for deployment in deployments:
        book = account_books[deployment.account_id]
        yield (
            deployment,
            placing.decide(intent, deployment=deployment, book=book, prices=prices, now=now),
        )


def _before_any_deployment(
    case: Case, deployments: Sequence[Deployment], fresh: Freshness, *, now: datetime
) -> Verdict | None:
    """Why no deployment is asked at all, in the order in which a person would look."""
    if case.reading.error is not None:
        wrong, hint = formats.EXPLANATIONS[case.reading.error]
        return Verdict("rejected", case.reading.error.value, f"{wrong} {hint}")
    if case.signal is None:
        return Verdict("rejected", "no_action", "The message names no action to take.")
    if case.endpoint.is_paused:
        return Verdict("rejected", "endpoint_paused", "The endpoint is paused; the alert is kept.")
    if case.instrument is None:
        return Verdict(
            "rejected",
            "unknown_instrument",
            f"No instrument is known as {case.reading.ticker}"
            + (f" at {case.reading.exchange}." if case.reading.exchange else "."),
        )
    if (fault := unsupported(case.reading)) is not None:
        return Verdict("rejected", *fault)
    if verdict := fresh.refuses(case.endpoint, case.signal, case.reading, case.alert, now=now):
        return verdict
    if not deployments:
        return Verdict(
            "rejected",
            "not_deployed",
            f"Endpoint {case.endpoint.name} is not deployed to an account.",
        )
    return None


def _note(
    outcome: Outcome, case: Case, deployment: Deployment | None, verdict: Verdict, *, now: datetime
) -> None:
    outcome.decisions.append(
        Decision(
            tenant_id=case.alert.tenant_id,
            alert=case.alert,
            signal=case.signal,
            deployment=deployment,
            outcome=verdict.outcome,
            code=verdict.code,
            text=verdict.text[:400],
            decided_at=now,
        )
    )
    outcome.orders += verdict.orders
    takes_back = verdict.code == "cancel" or any(
        order.role == Order.Role.EXIT or order.reduce_only for order in verdict.orders[:1]
    )
    if deployment and case.instrument and takes_back:
        outcome.cancels.add((deployment.pk, case.instrument.pk))


def _write(cases: Sequence[Case], outcome: Outcome, *, now: datetime) -> None:
    # Cancellations first: they are about orders that were there before this batch.
    if outcome.cancels:
        taken_back = (
            Q(deployment=deployment_id, instrument=instrument_id)
            for deployment_id, instrument_id in outcome.cancels
        )
        switch.cancel_entries(Order.objects.filter(reduce(or_, taken_back)), now=now)
    bulk.insert(outcome.signals)
    bulk.insert(outcome.decisions)
    bulk.insert(outcome.orders)
    for case in cases:
        case.alert.status, case.alert.decided_at = Alert.Status.DECIDED, now
        case.alert.message_code = case.reading.error.value if case.reading.error else ""
    bulk.update([case.alert for case in cases], ["status", "decided_at", "message_code"])
    for decision in outcome.decisions:
        _tell(decision)
    if outcome.orders or outcome.cancels:
        with connections["ops"].cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [placing.CHANNEL])


def _tell(decision: Decision) -> None:
    signal = decision.signal
    what = f"{signal.action} {signal.ticker}" if signal else "alert"
    label = Decision.Outcome(decision.outcome).label
    events.append(
        kind=f"decision.{decision.outcome}",
        subject="signal" if signal else "alert",
        subject_id=signal.pk if signal else decision.alert_id,
        at=decision.decided_at,
        tenant_id=decision.tenant_id,
        text=f"{label}: {what}. {decision.text}",
        payload={
            "alert": str(decision.alert_id),
            "signal": str(signal.pk) if signal else None,
            "decision": str(decision.pk),
            "outcome": decision.outcome,
            "code": decision.code,
            "instrument": str(signal.instrument_id) if signal and signal.instrument_id else None,
            "action": signal.action if signal else None,
        },
    )
