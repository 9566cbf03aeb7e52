"""Is this signal new, and is it in time? Resends, other wordings and late arrivals end here."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from apps.signals.models import SeenIntent, Signal, StreamHead
from apps.trading.intent import Verdict
from apps.webhooks.formats import ParsedAlert
from apps.webhooks.models import Alert, Endpoint

Stream = tuple[UUID, str, UUID]
CLOSES = ("close", "close_long", "close_short", "cancel")


@dataclass(slots=True)
class Freshness:
    """What the endpoints of a batch have acted on before, and what it adds."""

    heads: dict[Stream, StreamHead]
    seen: dict[tuple[UUID, bytes], UUID]
    new_seen: list[SeenIntent] = field(default_factory=list)
    moved: set[Stream] = field(default_factory=set)

    def refuses(
        self,
        endpoint: Endpoint,
        signal: Signal,
        reading: ParsedAlert,
        alert: Alert,
        *,
        now: datetime,
    ) -> Verdict | None:
        """A duplicate, one overtaken by a newer signal, or one that is too old.

        A replay is no duplicate, for a person asked for it, and no younger than its original.
        """
        digest = meaning(signal, reading) if alert.replay_of is None else None
        if digest is not None and (endpoint.pk, digest) in self.seen:
            return Verdict(
                "duplicate", "duplicate_signal", "The same signal has been acted on already."
            )
        fired_at = _fired_at(reading, alert, now=now)
        head = self.heads.get(_stream(endpoint, signal))
        if head is not None and _precedes(fired_at, head.fired_at):
            late = (head.fired_at - fired_at).total_seconds()
            return Verdict(
                "rejected",
                "out_of_order",
                f"A signal of this strategy that fired {late:.0f} s later has been acted on.",
            )
        max_age = min(endpoint.max_age_s, reading.max_lag_s or endpoint.max_age_s)
        age = (now - fired_at).total_seconds()
        if age > max_age and signal.action not in CLOSES and reading.market_position != "flat":
            return Verdict(
                "rejected",
                "stale",
                f"It fired {age:.0f} s ago; {max_age} s are allowed for opening a position.",
            )
        return None

    def note(
        self,
        endpoint: Endpoint,
        signal: Signal,
        reading: ParsedAlert,
        alert: Alert,
        *,
        now: datetime,
    ) -> None:
        """This signal is acted on."""
        if (digest := meaning(signal, reading)) is not None:
            self.seen[endpoint.pk, digest] = signal.pk
            self.new_seen.append(
                SeenIntent(
                    tenant_id=endpoint.tenant_id,
                    endpoint=endpoint,
                    digest=digest,
                    signal_id=signal.pk,
                    at=now,
                )
            )
        stream = _stream(endpoint, signal)
        fired_at = _fired_at(reading, alert, now=now)
        head = self.heads.get(stream)
        if head is None:
            head = self.heads[stream] = StreamHead(
                tenant_id=endpoint.tenant_id,
                endpoint=endpoint,
                strategy=signal.strategy,
                instrument_id=stream[2],
                fired_at=fired_at,
            )
        head.fired_at, head.signal_id = max(head.fired_at, fired_at), signal.pk
        self.moved.add(stream)

    def save(self) -> None:
        StreamHead.objects.bulk_create(
            [self.heads[stream] for stream in sorted(self.moved)],
            update_conflicts=True,
            unique_fields=["tenant", "endpoint", "strategy", "instrument"],
            update_fields=["fired_at", "signal_id"],
        )
        SeenIntent.objects.bulk_create(
            sorted(self.new_seen, key=lambda row: (row.endpoint_id, bytes(row.digest))),
            ignore_conflicts=True,
        )


def load(cases: Sequence[tuple[Endpoint, Signal | None, ParsedAlert]]) -> Freshness:
    """Read, and lock, what a batch needs to know."""
    endpoints = {endpoint.pk for endpoint, signal, _ in cases if signal}
    instruments = {signal.instrument_id for _, signal, _ in cases if signal}
    heads = {
        (head.endpoint_id, head.strategy, head.instrument_id): head
        for head in StreamHead.objects.select_for_update()
        .filter(endpoint__in=endpoints, instrument__in=instruments)
        .order_by("pk")
    }
    digests = [
        digest
        for _, signal, reading in cases
        if signal and (digest := meaning(signal, reading)) is not None
    ]
    rows = SeenIntent.objects.filter(endpoint__in=endpoints, digest__in=digests)
    seen = {
        (endpoint_id, bytes(digest)): signal_id
        for endpoint_id, digest, signal_id in rows.values_list("endpoint_id", "digest", "signal_id")
    }
    return Freshness(heads, seen)


def forget(*, before: datetime) -> int:
    """Drop what was seen before; nothing that old can be sent again."""
    return SeenIntent.objects.filter(at__lt=before).delete()[0]


def meaning(signal: Signal, reading: ParsedAlert) -> bytes | None:
    """What makes two alerts the same signal; None when the message does not say enough.

    The sender's own id, or strategy, order, bar, action and position together: one order of one
    bar is one intention, in whatever bytes it is sent again.
    """
    if reading.alert_id:
        parts = ["id", reading.alert_id]
    elif reading.order_id and reading.bar_time:
        parts = [
            "order",
            signal.strategy,
            signal.ticker,
            reading.order_id,
            reading.bar_time.isoformat(),
            signal.action,
            str(reading.position_size),
            str(reading.market_position),
        ]
    else:
        return None
    return hashlib.sha256("\x1f".join(parts).encode()).digest()


def _precedes(fired_at: datetime, other: datetime) -> bool:
    """Whether the one fired before the other; TradingView's own times are whole seconds."""
    if 0 in (fired_at.microsecond, other.microsecond):
        return fired_at.replace(microsecond=0) < other.replace(microsecond=0)
    return fired_at < other


def _fired_at(reading: ParsedAlert, alert: Alert, *, now: datetime) -> datetime:
    """When it fired: as it says, or when it first arrived; never later than now.

    Not when it was decided, which those that arrived meanwhile would all precede.
    """
    return min(reading.fired_at or (alert.replay_of or alert).received_at, now)


def _stream(endpoint: Endpoint, signal: Signal) -> Stream:
    if signal.instrument_id is None:
        raise ValueError(f"signal {signal.pk} has no instrument")
    return endpoint.pk, signal.strategy, signal.instrument_id


# Longer than TradingView resends, and than any max age that is usual.
MEMORY = timedelta(days=7)
