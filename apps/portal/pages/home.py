"""Home: what the money does, what needs somebody, what happens now; and the first steps."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from apps.accounts.identity import TenantRequest
from apps.accounts.models import Scope
from apps.core.models import Event
from apps.portal import needs, selectors, services
from apps.portal.pages.doors import action, page, show
from apps.trading import selectors as trading
from apps.webhooks import selectors as webhooks

SUBJECTS = ("alert", "signal", "decision", "order", "position", "trade", "account", "deployment")


@page
def home(request: TenantRequest) -> HttpResponseBase:
    now = timezone.now()
    progress = selectors.progress(request.identity.user)
    worths = trading.summaries(now=now)
    may_manage = request.identity.may(Scope.MANAGE)
    context: dict[str, Any] = {
        "worths": worths,
        "main": worths[0] if worths else None,
        "needs": needs.found(request.frame, now=now),  # type: ignore[attr-defined]
        "progress": progress,
        "steps": _steps(progress, may_manage=may_manage),
        "events": [_row(event) for event in selectors.feed()],
    }
    return show(
        request,
        "portal/home.html",
        context,
        money="portal/home_money.html",
        needs="portal/home_needs.html",
        steps="portal/home_steps.html",
    )


@action(Scope.MANAGE)
def start(request: TenantRequest) -> HttpResponseBase:
    """Everything a first alert needs, with one press; the address is shown this once."""
    try:
        made = services.start(by=request.identity.actor, now=timezone.now())
    except services.StartedAlready as refusal:
        messages.info(request, refusal.message)
        return redirect("webhooks")
    return show_address(request, made.token, title="Send your first alert", is_first=True)


def show_address(
    request: TenantRequest, token: str, *, title: str, is_first: bool = False
) -> HttpResponse:
    """A new address, its curl line and its TradingView message; none of them is kept."""
    url = webhooks.intake_url(token)
    instrument = selectors.instrument_to_try()
    context: dict[str, Any] = {
        "title": title,
        "url": url,
        "curl": selectors.curl_line(url, instrument),
        "instrument": instrument,
        "strategy_message": webhooks.tradingview_message(),
        "alert_message": webhooks.tradingview_message(action="buy"),
        "is_first": is_first,
        "events": [],
    }
    return show(request, "portal/endpoint_address.html", context)


def _steps(progress: selectors.Progress, *, may_manage: bool) -> list[dict[str, Any]]:
    """The first steps in their order; none when all are done."""
    if progress.is_done:
        return []
    steps = [
        _step("Confirm your e-mail address", progress.is_verified, "", "", ""),
        _step(
            "Open a paper account",
            progress.has_account,
            "Money that is not real, and limits that already are.",
            "Open account",
            "account-new",
        ),
        _step(
            "Make a webhook endpoint",
            progress.has_endpoint,
            "An address of your own that TradingView sends alerts to.",
            "Make endpoint",
            "webhook-new",
        ),
        _step(
            "Deploy the endpoint to the account",
            progress.is_deployed,
            "Says with which money and how large its signals are traded.",
            "Deploy",
            "deployment-new",
        ),
        _step(
            "Send a first alert",
            progress.has_alert,
            "Run the curl line of your endpoint, or paste its address into TradingView.",
            "Show webhooks",
            "webhooks",
        ),
        _step(
            "See the first order filled",
            progress.has_fill,
            "A paper order fills at the next bar of its market.",
            "Show orders",
            "orders",
        ),
    ]
    for step in steps:
        if not may_manage:
            step["action_url"] = ""
    following = next((step for step in steps if not step["done"]), None)
    if following:
        following["is_next"] = True
    return steps


def _step(title: str, done: bool, text: str, label: str, name: str) -> dict[str, Any]:
    return {
        "title": title,
        "done": done,
        "text": text,
        "action_label": label,
        "action_url": reverse(name) if name else "",
    }


def _row(event: Event) -> dict[str, Any]:
    has_page = event.subject in SUBJECTS
    return {
        "seq": event.sequence,
        "at": event.at,
        "text": event.payload.get("text", event.kind),
        "url": reverse(event.subject, args=[event.subject_id]) if has_page else "",
        "mode": event.payload.get("mode", ""),
    }
