"""What arrived: the delivery log, when an endpoint was last heard of, and how to send to it."""

import heapq
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db.models import Count, IntegerField, Max, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, TruncDate

from apps.webhooks.answers import REFUSALS
from apps.webhooks.formats import EXPLANATIONS, MessageCode
from apps.webhooks.models import Alert, Endpoint, Refusal, Repeat

PREVIEW_BYTES: Final = 300


@dataclass(frozen=True, slots=True)
class Delivery:
    """One line of the delivery log: an alert, or a minute of refused requests.

    Attributes:
        outcome: 'stored' (waits for the pipeline), 'decided' or 'refused'.
        count: how often it arrived: repeats of an alert included, or refused requests.
        status: the HTTP status that the sender saw.
    """

    id: UUID
    at: datetime
    endpoint_id: UUID
    endpoint_name: str
    outcome: str
    status: int
    message_code: str
    explanation: str
    hint: str
    count: int
    preview: str = ""
    source_ip: str | None = None
    replay_of_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Day:
    """What arrived on one day, in UTC."""

    on: date
    alerts: int = 0
    repeats: int = 0
    refusals: int = 0


def endpoints() -> QuerySet[Endpoint]:
    """The tenant's endpoints that were not deleted, newest first."""
    rows: QuerySet[Endpoint] = Endpoint.objects.filter(deleted_at=None).order_by("-id")
    return rows


def alerts(*, endpoint_id: UUID | None = None) -> QuerySet[Alert]:
    """Alerts with how often each was repeated, newest first."""
    repeats = Repeat.objects.filter(alert_id=OuterRef("pk"))
    rows: QuerySet[Alert] = (
        Alert.objects.select_related("endpoint")
        .annotate(
            repeats=Coalesce(Subquery(repeats.values("count")), 0, output_field=IntegerField()),
            last_repeat_at=Subquery(repeats.values("last_at")),
        )
        .order_by("-received_at", "-id")
    )
    return rows if endpoint_id is None else rows.filter(endpoint_id=endpoint_id)


def deliveries(
    *,
    endpoint_id: UUID | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int = 50,
) -> list[Delivery]:
    """Alerts and refusals in one list, newest first.

    Args:
        before: time and id of the last line that is known; the ones after it are listed.
    """
    stored = alerts(endpoint_id=endpoint_id)
    refused = Refusal.objects.select_related("endpoint").order_by("-last_at", "-id")
    if endpoint_id is not None:
        refused = refused.filter(endpoint_id=endpoint_id)
    if before is not None:
        stored = stored.filter(older("received_at", before))
        refused = refused.filter(older("last_at", before))
    lines: Iterable[Delivery] = heapq.merge(
        map(of_alert, stored[:limit]),
        map(of_refusal, refused[:limit]),
        key=lambda line: (line.at, line.id),
        reverse=True,
    )
    return list(islice(lines, limit))


def older(field: str, than: tuple[datetime, UUID]) -> Q:
    at, line_id = than
    return Q(**{f"{field}__lt": at}) | Q(**{field: at, "id__lt": line_id})


def of_alert(alert: Alert) -> Delivery:
    explanation, hint = explained(alert.message_code)
    return Delivery(
        id=alert.pk,
        at=alert.received_at,
        endpoint_id=alert.endpoint_id,
        endpoint_name=alert.endpoint.name,
        outcome=alert.status,
        status=202,
        message_code=alert.message_code,
        explanation=explanation,
        hint=hint,
        count=1 + repeats_of(alert),
        preview=preview(bytes(alert.body)),
        source_ip=alert.source_ip,
        replay_of_id=alert.replay_of_id,
    )


def of_refusal(refusal: Refusal) -> Delivery:
    answer = REFUSALS.get(refusal.code)
    return Delivery(
        id=refusal.pk,
        at=refusal.last_at,
        endpoint_id=refusal.endpoint_id,
        endpoint_name=refusal.endpoint.name,
        outcome="refused",
        status=refusal.status,
        message_code=refusal.code,
        explanation=answer.message if answer else "",
        hint=answer.hint if answer else "",
        count=refusal.count,
    )


def explained(message_code: str) -> tuple[str, str]:
    """What a message code means and what to do about it; empty where nothing was wrong."""
    known: Mapping[str, tuple[str, str]] = {code.value: EXPLANATIONS[code] for code in MessageCode}
    return known.get(message_code, ("", ""))


def repeats_of(alert: Alert) -> int:
    """How often an alert of ``alerts()`` was sent again."""
    count: int = vars(alert)["repeats"]
    return count


def preview(body: bytes) -> str:
    """The beginning of a body as text, on one line."""
    text = body[:PREVIEW_BYTES].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def last_received(endpoint: Endpoint) -> datetime | None:
    """When the endpoint's newest alert arrived: an alert that stopped makes no other sign."""
    found: datetime | None = Alert.objects.filter(endpoint=endpoint, replay_of=None).aggregate(
        last=Max("received_at")
    )["last"]
    return found


def counts_per_day(*, since: datetime, endpoint_id: UUID | None = None) -> list[Day]:
    """The days on which something arrived, oldest first."""
    kind = Q() if endpoint_id is None else Q(endpoint_id=endpoint_id)
    counts: dict[date, dict[str, int]] = defaultdict(dict)
    row: Mapping[str, Any]
    stored = (
        alerts()
        .filter(kind, received_at__gte=since, replay_of=None)
        .order_by()
        .values(on=TruncDate("received_at", tzinfo=UTC))
        .annotate(alerts=Count("pk"), repeated=Sum("repeats"))
    )
    for row in stored:
        counts[row["on"]] |= {"alerts": row["alerts"], "repeats": row["repeated"]}
    refused = (
        Refusal.objects.filter(kind, minute__gte=since)
        .values(on=TruncDate("minute", tzinfo=UTC))
        .annotate(refusals=Sum("count"))
    )
    for row in refused:
        counts[row["on"]]["refusals"] = row["refusals"]
    return [Day(on, **counts[on]) for on in sorted(counts)]


def intake_url(token: str) -> str:
    """The address to paste into a TradingView alert."""
    return f"{settings.HOOKS_URL}/hooks/{token}"


def curl_line(token: str) -> str:
    """A command that sends one alert, to try an address with."""
    body = '{"ticker":"BTCUSDT","action":"buy","quantity":"1"}'
    return f"curl -X POST {intake_url(token)} -H 'Content-Type: application/json' -d '{body}'"


def tradingview_message(*, action: str | None = None) -> str:
    """The message to paste into a TradingView alert, as one line of JSON.

    TradingView fills in the placeholders, and names no delivery: the ``id`` tells two alerts
    apart that are otherwise equal, and a resend from a new alert.

    Args:
        action: 'buy', 'sell' or 'exit' for an indicator's alert, which does not know it; None
            for the order fills of a strategy.
    """
    fields = {"ticker": "{{ticker}}", "exchange": "{{exchange}}", "interval": "{{interval}}"}
    if action is None:
        fields |= FILL
        unique = "{{strategy.order.id}}-{{strategy.order.action}}-{{strategy.position_size}}"
    else:
        fields |= {"action": action, "price": "{{close}}"}
        unique = action
    fields |= {"bar_time": "{{time}}", "fired_at": "{{timenow}}"}
    fields |= {"id": "{{ticker}}-{{interval}}-{{timenow}}-" + unique}
    return json.dumps(fields, separators=(",", ":"))


FILL: Final = {
    "action": "{{strategy.order.action}}",
    "quantity": "{{strategy.order.contracts}}",
    "price": "{{strategy.order.price}}",
    "position": "{{strategy.market_position}}",
    "position_size": "{{strategy.position_size}}",
    "prev_position": "{{strategy.prev_market_position}}",
    "order_id": "{{strategy.order.id}}",
}
