"""What needs somebody: each a sentence, and where to go with it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.db.models import Count
from django.urls import reverse

from apps.portal import selectors
from apps.portal.selectors import Frame
from apps.portal.templatetags import figures
from apps.trading.models import BrokerAccount, Deployment
from apps.webhooks import selectors as webhooks
from apps.webhooks.models import Alert


@dataclass(frozen=True, slots=True)
class Need:
    """One thing to look at; tone is bad, warn or nothing."""

    text: str
    url: str
    label: str
    tone: str = "warn"


def found(frame: Frame, *, now: datetime) -> list[Need]:
    """The gravest first."""
    since = now - timedelta(days=1)
    return [
        *_halted(frame),
        *_in_doubt(),
        *_accounts(),
        *_unreadable(since),
        *_refused(since),
        *_rejected(since),
        *_undeployed(),
        *_paused(),
    ]


def _halted(frame: Frame) -> list[Need]:
    if not frame.is_halted:
        return []
    return [Need(f"Trading is stopped: {frame.reason}", reverse("switch"), "Kill switch", "bad")]


def _in_doubt() -> list[Need]:
    count = selectors.orders_in_doubt()
    if not count:
        return []
    text = f"{_many(count, 'order')} sent without an answer; the broker is being asked."
    return [Need(text, f"{reverse('orders')}?status=unknown", "Show orders", "bad")]


def _accounts() -> list[Need]:
    rows = BrokerAccount.objects.exclude(state=BrokerAccount.State.ACTIVE)
    return [
        Need(
            f"Account {row.name} is {row.get_state_display().lower()}: no position is opened.",
            reverse("account", args=[row.pk]),
            "Show account",
            "bad",
        )
        for row in rows[:5]
    ]


def _unreadable(since: datetime) -> list[Need]:
    rows = (
        Alert.objects.filter(received_at__gte=since)
        .exclude(message_code="")
        .values("message_code")
        .annotate(count=Count("pk"))
        .order_by("-count")
    )
    return [
        Need(
            f"{_many(row['count'], 'alert')} of the last day: "
            f"{webhooks.explained(row['message_code'])[0]}",
            f"{reverse('webhook-log')}?{urlencode({'show': 'faults'})}",
            "Show log",
        )
        for row in rows[:3]
    ]


def _refused(since: datetime) -> list[Need]:
    count = selectors.refused_requests(since=since)
    if not count:
        return []
    text = f"{_many(count, 'request')} refused at your webhooks in the last day."
    return [Need(text, f"{reverse('webhook-log')}?show=refused", "Show log")]


def _rejected(since: datetime) -> list[Need]:
    url = f"{reverse('signals')}?outcome=rejected"
    return [
        Need(
            f"{_many(row['count'], 'signal')} rejected in the last day: "
            f"{figures.words(row['code']).lower()}.",
            url,
            "Show signals",
            "",
        )
        for row in selectors.rejections(since=since)
    ]


def _undeployed() -> list[Need]:
    return [
        Need(
            f"{row.name} is not deployed: its alerts are kept and not traded.",
            f"{reverse('deployment-new')}?endpoint={row.pk}",
            "Deploy",
        )
        for row in selectors.endpoints_without_deployment()
    ]


def _paused() -> list[Need]:
    count = Deployment.objects.filter(is_active=False, ended_at=None).count()
    if not count:
        return []
    return [Need(f"{_many(count, 'deployment')} paused.", reverse("deployments"), "Show", "")]


def _many(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"
