"""One alert: the bytes as they came, what was read in them, and reading them again."""

from uuid import UUID

from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone

from apps.accounts.identity import TenantRequest
from apps.accounts.models import Scope
from apps.portal import chain
from apps.portal.pages.doors import action, attempt, page, show
from apps.webhooks import selectors, services
from apps.webhooks.models import Alert

BODY_SHOWN = 20_000


@page
def alert(request: TenantRequest, alert_id: UUID) -> HttpResponseBase:
    found = get_object_or_404(selectors.alerts(), pk=alert_id)
    explanation, hint = selectors.explained(found.message_code)
    steps = chain.of_alert(found)
    body = bytes(found.body)
    context = {
        "alert": found,
        "body": body[:BODY_SHOWN].decode("utf-8", "replace"),
        "size": len(body),
        "is_cut": len(body) > BODY_SHOWN,
        "explanation": explanation,
        "hint": hint,
        "steps": steps,
        "links": steps.links(),
        "replays": Alert.objects.filter(replay_of=found).order_by("pk")[:20],
    }
    return show(request, "portal/alert.html", context, object="portal/alert_object.html")


@action(Scope.TRADE)
def replay(request: TenantRequest, alert_id: UUID) -> HttpResponseBase:
    made: list[Alert] = []
    by, now = request.identity.actor, timezone.now()
    sent = attempt(
        request,
        lambda: made.append(services.replay_alert(alert_id=alert_id, now=now, by=by)),
        done="Sent to be read again, as a new alert with the same bytes: this one.",
    )
    return redirect("alert", made[0].pk if sent else alert_id)
