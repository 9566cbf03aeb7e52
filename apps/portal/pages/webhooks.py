"""Webhooks: addresses of one's own, and every request that came to them."""

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Max, Q
from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache

from apps.accounts.identity import TenantRequest
from apps.accounts.models import Scope
from apps.portal.forms import EndpointForm, RotateForm
from apps.portal.lists import csv_of
from apps.portal.pages.doors import action, attempt, form_page, page, require, show
from apps.portal.pages.home import show_address
from apps.trading import selectors as trading
from apps.trading.models import Deployment
from apps.webhooks import selectors as found_by
from apps.webhooks import services
from apps.webhooks.models import Endpoint
from apps.webhooks.selectors import Delivery

ROWS = 50
MOST_EXPORTED = 5_000
SHOWN = {"": "Everything", "faults": "Unreadable", "refused": "Refused"}
EXPORT = {
    "id": lambda line: line.id,
    "at": lambda line: line.at,
    "endpoint": lambda line: line.endpoint_name,
    "outcome": lambda line: line.outcome,
    "http_status": lambda line: line.status,
    "message_code": lambda line: line.message_code,
    "explanation": lambda line: line.explanation,
    "hint": lambda line: line.hint,
    "count": lambda line: line.count,
    "source_ip": lambda line: line.source_ip,
    "body": lambda line: line.preview,
}


@page
def webhooks(request: TenantRequest) -> HttpResponseBase:
    endpoints = found_by.endpoints().annotate(
        last_at=Max("alerts__received_at", filter=Q(alerts__replay_of=None))
    )
    deployed = set(Deployment.objects.filter(is_active=True).values_list("source_id", flat=True))
    context = {
        "endpoints": [(endpoint, endpoint.pk in deployed) for endpoint in endpoints],
        "lines": found_by.deliveries(limit=10),
    }
    return show(request, "portal/webhooks.html", context, rows="portal/webhooks_rows.html")


@never_cache
@form_page(Scope.MANAGE)
def new(request: TenantRequest) -> HttpResponseBase:
    form = EndpointForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        endpoint, token = services.create_endpoint(
            **form.cleaned_data, now=timezone.now(), by=request.identity.actor
        )
        # No redirect: the address would have to be kept somewhere in between.
        return show_address(request, token, title=endpoint.name)
    context = {
        "form": form,
        "title": "Make a webhook endpoint",
        "text": "An address of your own: whoever knows it can send alerts to it.",
        "submit": "Make endpoint",
        "parent": "webhooks",
        "parent_label": "Webhooks",
    }
    return show(request, "portal/form.html", context)


@form_page(Scope.READ)
def webhook(request: TenantRequest, endpoint_id: UUID) -> HttpResponseBase:
    endpoint = _endpoint(endpoint_id)
    initial = {"name": endpoint.name, "max_age_s": endpoint.max_age_s}
    form = EndpointForm(request.POST or None, initial=initial)
    if request.method == "POST":
        require(request, Scope.MANAGE)
        if form.is_valid():
            attempt(
                request,
                lambda: services.change_endpoint(
                    endpoint_id=endpoint.pk,
                    **form.cleaned_data,
                    now=timezone.now(),
                    by=request.identity.actor,
                ),
                done="The endpoint is changed.",
            )
            return redirect("webhook", endpoint.pk)
    context = {
        "endpoint": endpoint,
        "form": form,
        "rotate_form": RotateForm(),
        "last_at": found_by.last_received(endpoint),
        "deployments": trading.deployments(source_id=endpoint.pk),
        "log": _log(request, endpoint),
        "has_old_address": _has_old_address(endpoint),
    }
    return show(request, "portal/webhook.html", context, rows="portal/log_rows.html")


@page
def log(request: TenantRequest) -> HttpResponseBase:
    """Every request, the refused ones too, with what was wrong and what to do about it."""
    if request.GET.get("format") == "csv":
        lines = found_by.deliveries(limit=MOST_EXPORTED)
        return csv_of("deliveries", EXPORT, _only(lines, request.GET.get("show", "")))
    context = {"log": _log(request, None), "kinds": SHOWN.items()}
    return show(request, "portal/log.html", context, rows="portal/log_rows.html")


@never_cache
@action(Scope.MANAGE)
def rotate(request: TenantRequest, endpoint_id: UUID) -> HttpResponseBase:
    endpoint = _endpoint(endpoint_id)
    form = RotateForm(request.POST)
    if not form.is_valid():
        return redirect("webhook", endpoint.pk)
    token = services.rotate_endpoint(
        endpoint_id=endpoint.pk,
        overlap=timedelta(hours=form.cleaned_data["overlap_h"]),
        now=timezone.now(),
        by=request.identity.actor,
    )
    return show_address(request, token, title=f"New address of {endpoint.name}")


@action(Scope.MANAGE)
def pause(request: TenantRequest, endpoint_id: UUID) -> HttpResponseBase:
    by, now = request.identity.actor, timezone.now()
    attempt(
        request,
        lambda: services.pause_endpoint(endpoint_id=endpoint_id, now=now, by=by),
        done="Paused: alerts are kept and shown, and none is traded.",
    )
    return redirect("webhook", endpoint_id)


@action(Scope.MANAGE)
def resume(request: TenantRequest, endpoint_id: UUID) -> HttpResponseBase:
    by, now = request.identity.actor, timezone.now()
    attempt(
        request,
        lambda: services.resume_endpoint(endpoint_id=endpoint_id, now=now, by=by),
        done="The next alert is traded again.",
    )
    return redirect("webhook", endpoint_id)


@form_page(Scope.MANAGE)
def delete(request: TenantRequest, endpoint_id: UUID) -> HttpResponseBase:
    """Asks once; what was received stays."""
    endpoint = _endpoint(endpoint_id)
    if request.method != "POST":
        return show(request, "portal/webhook_delete.html", {"endpoint": endpoint})
    attempt(
        request,
        lambda: services.delete_endpoint(
            endpoint_id=endpoint.pk, now=timezone.now(), by=request.identity.actor
        ),
        done=f"{endpoint.name} is deleted; its alerts are kept.",
    )
    return redirect("webhooks")


def _endpoint(endpoint_id: UUID) -> Endpoint:
    endpoint: Endpoint = get_object_or_404(found_by.endpoints(), pk=endpoint_id)
    return endpoint


def _has_old_address(endpoint: Endpoint) -> bool:
    until = endpoint.previous_token_until
    return until is not None and until > timezone.now()


@dataclass(frozen=True, slots=True)
class Log:
    """A page of the delivery log."""

    lines: list[Delivery]
    kind: str
    show_endpoint: bool
    here: str
    first_url: str
    next_url: str
    export_url: str


def _log(request: TenantRequest, endpoint: Endpoint | None) -> Log:
    kind = request.GET.get("show", "")
    kind = kind if kind in SHOWN else ""
    cursor = request.GET.get("cursor", "")
    found = found_by.deliveries(
        endpoint_id=endpoint.pk if endpoint else None,
        before=_place(cursor),
        # What is looked for may be rare among what was received.
        limit=(20 if kind else 1) * ROWS + 1,
    )
    wanted = _only(found, kind)
    shown = wanted[:ROWS]
    last = shown[-1] if len(wanted) > ROWS else found[-1] if len(found) > 20 * ROWS else None
    state = {"show": kind} if kind else {}
    return Log(
        lines=shown,
        kind=kind,
        show_endpoint=endpoint is None,
        here=request.get_full_path(),
        first_url=f"{request.path}?{urlencode(state)}" if cursor else "",
        next_url=f"?{urlencode(state | {'cursor': _cursor(last)})}" if last else "",
        export_url=f"{reverse('webhook-log')}?{urlencode(state | {'format': 'csv'})}"
        if shown and endpoint is None
        else "",
    )


def _only(lines: list[Delivery], kind: str) -> list[Delivery]:
    match kind:
        case "refused":
            return [line for line in lines if line.outcome == "refused"]
        case "faults":
            return [line for line in lines if line.message_code and line.outcome != "refused"]
    return lines


def _cursor(line: Delivery) -> str:
    place = json.dumps([line.at.isoformat(), str(line.id)])
    return base64.urlsafe_b64encode(place.encode()).decode()


def _place(cursor: str) -> tuple[datetime, UUID] | None:
    if not cursor:
        return None
    try:
        at, line_id = json.loads(base64.urlsafe_b64decode(cursor))
        return datetime.fromisoformat(at), UUID(line_id)
    except (ValueError, TypeError, AttributeError, binascii.Error) as fault:
        raise Http404("This page of the log is not known.") from fault
