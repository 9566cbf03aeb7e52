"""Deployments: whose signals go to which account, and how large they are traded."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone

from apps.accounts.identity import TenantRequest
from apps.accounts.models import Scope
from apps.portal import selectors
from apps.portal.forms import DeploymentForm, SizingForm
from apps.portal.lists import Column, Filter, Listing, Rows
from apps.portal.pages.doors import action, attempt, form_page, page, require, show
from apps.portal.pages.orders import account_choices
from apps.trading import selectors as trading
from apps.trading import services
from apps.trading.models import BrokerAccount, Deployment
from apps.webhooks import selectors as webhooks
from apps.webhooks.models import Endpoint


def of_state(rows: Rows, value: str) -> Rows:
    return rows.filter(is_active=value == "active")


LISTING = Listing(
    name="deployments",
    columns=[
        Column("Deployment", "name"),
        Column("Signals of"),
        Column("Account"),
        Column("Size"),
        Column("Short"),
        Column("State"),
        Column("Since", "created_at"),
    ],
    filters=[
        Filter("state", "State", [("active", "Active"), ("paused", "Paused")], of_state),
        Filter(
            "account", "Account", account_choices, lambda rows, value: rows.filter(account=value)
        ),
    ],
    search=("name", "account__name"),
    sort="-created_at",
    export={
        "id": lambda row: row.pk,
        "name": lambda row: row.name,
        "endpoint_id": lambda row: row.source_id,
        "account": lambda row: row.account.name,
        "mode": lambda row: row.account.mode,
        "sizing": lambda row: row.sizing,
        "size": lambda row: row.size,
        "allows_short": lambda row: row.allows_short,
        "is_active": lambda row: row.is_active,
        "created_at": lambda row: row.created_at,
    },
)


@page
def deployments(request: TenantRequest) -> HttpResponseBase:
    rows = trading.deployments()
    if request.GET.get("format") == "csv":
        return LISTING.csv(request, rows)
    listed = LISTING.page(request, rows)
    names = selectors.endpoint_names(row.source_id for row in listed.rows)
    for row in listed.rows:
        row.source_name = names.get(row.source_id, "")
    context = {"page": listed, "has_account": trading.accounts().exists()}
    return show(request, "portal/deployments.html", context, rows="portal/deployments_rows.html")


@form_page(Scope.MANAGE)
def new(request: TenantRequest) -> HttpResponseBase:
    endpoints, accounts = list(webhooks.endpoints()), list(trading.accounts())
    if not endpoints or not accounts:
        return show(
            request,
            "portal/deployment_missing.html",
            {"endpoints": endpoints, "accounts": accounts},
        )
    form = DeploymentForm(
        request.POST or None,
        endpoints=endpoints,
        accounts=accounts,
        initial={name: request.GET.get(name) for name in ("endpoint", "account")},
    )
    if request.method == "POST" and form.is_valid():
        typed = form.cleaned_data
        made: list[Deployment] = []
        deployed = attempt(
            request,
            lambda: made.append(_deploy(request, typed, endpoints, accounts)),
            done="Deployed. The next alert is traded.",
        )
        if deployed:
            return redirect("deployment", made[0].pk)
    context = {
        "form": form,
        "title": "Deploy an endpoint",
        "text": "From then on its signals become orders of this account, within its limits.",
        "submit": "Deploy",
        "parent": "deployments",
        "parent_label": "Deployments",
    }
    return show(request, "portal/form.html", context)


def _deploy(
    request: TenantRequest,
    typed: dict[str, Any],
    endpoints: Sequence[Endpoint],
    accounts: Sequence[BrokerAccount],
) -> Deployment:
    names = {str(row.pk): str(row) for row in (*endpoints, *accounts)}
    given = typed["name"] or f"{names[typed['endpoint']]} on {names[typed['account']]}"
    return services.create_deployment(
        name=given[:80],
        source_id=UUID(typed["endpoint"]),
        account_id=UUID(typed["account"]),
        sizing=typed["sizing"],
        size=typed["size"],
        allows_short=typed["allows_short"],
        by=request.identity.actor,
        now=timezone.now(),
    )


@form_page(Scope.READ)
def deployment(request: TenantRequest, deployment_id: UUID) -> HttpResponseBase:
    found = get_object_or_404(Deployment.objects.select_related("account"), pk=deployment_id)
    initial = {name: getattr(found, name) for name in ("name", "sizing", "allows_short")}
    initial["size"] = f"{found.size.normalize():f}"
    form = SizingForm(request.POST or None, initial=initial)
    if request.method == "POST":
        require(request, Scope.MANAGE)
        if form.is_valid():
            typed = form.cleaned_data | {"name": form.cleaned_data["name"] or found.name}
            attempt(
                request,
                lambda: services.update_deployment(
                    deployment_id=found.pk, **typed, by=request.identity.actor, now=timezone.now()
                ),
                done="Changed, from the next signal on.",
            )
            return redirect("deployment", found.pk)
    context = {
        "deployment": found,
        "form": form,
        "endpoint_name": selectors.endpoint_names([found.source_id]).get(found.source_id, ""),
        "record": selectors.record(trading.trades(deployment_id=found.pk)),
        "orders": trading.orders(deployment_id=found.pk)[:20],
        "signals_url": f"{reverse('signals')}?endpoint={found.source_id}",
    }
    return show(request, "portal/deployment.html", context)


@action(Scope.TRADE)
def pause(request: TenantRequest, deployment_id: UUID) -> HttpResponseBase:
    by, now = request.identity.actor, timezone.now()
    attempt(
        request,
        lambda: services.pause_deployment(deployment_id=deployment_id, by=by, now=now),
        done="Paused: its signals are not traded.",
    )
    return redirect("deployment", deployment_id)


@action(Scope.TRADE)
def resume(request: TenantRequest, deployment_id: UUID) -> HttpResponseBase:
    by, now = request.identity.actor, timezone.now()
    attempt(
        request,
        lambda: services.resume_deployment(deployment_id=deployment_id, by=by, now=now),
        done="The deployment goes on.",
    )
    return redirect("deployment", deployment_id)


@action(Scope.MANAGE)
def end(request: TenantRequest, deployment_id: UUID) -> HttpResponseBase:
    by, now = request.identity.actor, timezone.now()
    attempt(
        request,
        lambda: services.end_deployment(deployment_id=deployment_id, by=by, now=now),
        done="Ended for good: entries are canceled; positions stay, with their stops and targets.",
    )
    return redirect("deployments")
