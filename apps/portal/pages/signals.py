"""Signals: what the alerts were understood to ask, and what was decided."""

from typing import Any
from uuid import UUID

from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from apps.accounts.identity import TenantRequest
from apps.portal import chain, selectors
from apps.portal.lists import Column, Filter, Listing
from apps.portal.pages.doors import page, show
from apps.portal.templatetags import figures
from apps.signals.models import Decision, Signal
from apps.webhooks import selectors as webhooks
from apps.webhooks.models import Endpoint

BODY_SHOWN = 20_000


def endpoint_choices() -> list[tuple[str, str]]:
    return [(str(pk), name) for pk, name in Endpoint.objects.values_list("pk", "name")]


def outcomes(signal: Signal) -> str:
    return ", ".join(decision.outcome for decision in signal.decisions.all())


def reasons(signal: Signal) -> str:
    return " ".join(decision.text for decision in signal.decisions.all())


LISTING = Listing(
    name="signals",
    columns=[
        Column("Signal", "ticker"),
        Column("When", "created_at"),
        Column("Source"),
        Column("Score", is_number=True),
        Column("Outcome"),
        Column("Why"),
    ],
    filters=[
        Filter(
            "outcome",
            "Outcome",
            [*Decision.Outcome.choices, ("waiting", "Waiting")],
            selectors.signals_with_outcome,
        ),
        Filter(
            "action",
            "Action",
            Signal.Action.choices,
            lambda rows, value: rows.filter(action=value),
        ),
        Filter(
            "endpoint",
            "Endpoint",
            endpoint_choices,
            lambda rows, value: rows.filter(alert__endpoint=value),
        ),
    ],
    search=("ticker", "strategy", "instrument__symbol"),
    sort="-created_at",
    export={
        "id": lambda row: row.pk,
        "created_at": lambda row: row.created_at,
        "fired_at": lambda row: row.fired_at,
        "endpoint": lambda row: row.alert.endpoint.name,
        "action": lambda row: row.action,
        "ticker": lambda row: row.ticker,
        "quantity": lambda row: row.quantity,
        "price": lambda row: row.price,
        "score": lambda row: row.score,
        "outcome": outcomes,
        "reason": reasons,
    },
)


@page
def signals(request: TenantRequest) -> HttpResponseBase:
    rows = selectors.signals()
    if request.GET.get("format") == "csv":
        return LISTING.csv(request, rows)
    context = {"page": LISTING.page(request, rows)}
    return show(request, "portal/signals.html", context, rows="portal/signals_rows.html")


@page
def signal(request: TenantRequest, signal_id: UUID) -> HttpResponseBase:
    rows = Signal.objects.select_related("instrument", "alert__endpoint")
    found = get_object_or_404(rows, pk=signal_id)
    steps = chain.of_signal(found)
    context = {
        "signal": found,
        "steps": steps,
        "links": steps.links(),
        "sentence": chain.sentence(found).rstrip("."),
        "body": bytes(found.alert.body)[:BODY_SHOWN].decode("utf-8", "replace"),
        "reading": _spelled(found.reading),
        "features": sorted(found.features.items()),
        "fault": webhooks.explained(found.alert.message_code),
    }
    return show(request, "portal/signal.html", context, object="portal/signal_object.html")


@page
def decision(request: TenantRequest, decision_id: UUID) -> HttpResponseBase:
    """A decision is shown where it was made: at its signal, or at an alert without one."""
    found = get_object_or_404(Decision, pk=decision_id)
    if found.signal_id:
        return redirect("signal", found.signal_id)
    return redirect("alert", found.alert_id)


def _spelled(reading: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(figures.words(name), value) for name, value in reading.items()]
