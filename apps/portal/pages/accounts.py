"""Accounts: money at a broker, how it went, and what it may never do."""

from uuid import UUID

from django.http import JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone

from apps.accounts.identity import TenantRequest
from apps.accounts.models import Scope
from apps.portal import selectors
from apps.portal.forms import AccountForm, LimitsForm
from apps.portal.lists import csv_of
from apps.portal.pages.doors import attempt, form_page, page, show
from apps.trading import selectors as trading
from apps.trading import services
from apps.trading.models import BrokerAccount, RiskLimits

MOST_POINTS = 2_000
EXPORT = {
    "id": lambda row: row.account.pk,
    "name": lambda row: row.account.name,
    "mode": lambda row: row.account.mode,
    "currency": lambda row: row.account.currency,
    "starting_cash": lambda row: row.account.starting_cash,
    "cash": lambda row: row.account.cash,
    "equity": lambda row: row.equity,
    "exposure": lambda row: row.margin,
    "state": lambda row: row.account.state,
}


@page
def accounts(request: TenantRequest) -> HttpResponseBase:
    worths = trading.summaries(now=timezone.now())
    if request.GET.get("format") == "csv":
        return csv_of("accounts", EXPORT, worths)
    return show(
        request, "portal/accounts.html", {"worths": worths}, rows="portal/accounts_rows.html"
    )


@form_page(Scope.MANAGE)
def new(request: TenantRequest) -> HttpResponseBase:
    form = AccountForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        made: list[BrokerAccount] = []
        opened = attempt(
            request,
            lambda: made.append(
                services.create_paper_account(
                    name=form.cleaned_data["name"],
                    starting_cash=form.cleaned_data["cash"],
                    currency=form.cleaned_data["currency"],
                    by=request.identity.actor,
                    now=timezone.now(),
                )
            ),
            done="The account is open. These limits hold from its first order on.",
        )
        if opened:
            return redirect("account", made[0].pk)
    context = {
        "form": form,
        "title": "Open a paper account",
        "text": "Orders are filled from live prices by the same rules as a backtest.",
        "submit": "Open account",
        "parent": "accounts",
        "parent_label": "Accounts",
    }
    return show(request, "portal/form.html", context)


@page
def account(request: TenantRequest, account_id: UUID) -> HttpResponseBase:
    found = get_object_or_404(BrokerAccount, pk=account_id)
    limits = RiskLimits.objects.filter(account=found).first() or RiskLimits(account=found)
    form = _limits_form(limits)
    context = {
        "account": found,
        "worth": trading.summaries(now=timezone.now(), account_ids=[found.pk])[0],
        "record": selectors.record(trading.trades(account_id=found.pk)),
        "limits": [(_plain_label(field.label), _said(limits, field.name)) for field in form],
        "deployments": trading.deployments(account_id=found.pk),
    }
    return show(request, "portal/account.html", context, money="portal/account_money.html")


@form_page(Scope.MANAGE)
def limits(request: TenantRequest, account_id: UUID) -> HttpResponseBase:
    found = get_object_or_404(BrokerAccount, pk=account_id)
    row = RiskLimits.objects.filter(account=found).first() or RiskLimits(account=found)
    form = _limits_form(row, request)
    if request.method == "POST" and form.is_valid():
        attempt(
            request,
            lambda: services.update_limits(
                account_id=found.pk,
                limits=form.limits(),
                by=request.identity.actor,
                now=timezone.now(),
            ),
            done="The limits hold from the next decision on.",
        )
        return redirect("account", found.pk)
    context = {
        "form": form,
        "title": f"Limits of {found.name}",
        "text": f"Checked before every order, in {found.currency}. Left empty: no limit. Orders"
        " that only close a position always pass.",
        "submit": "Save limits",
        "parent": "account",
        "parent_id": found.pk,
        "parent_label": found.name,
    }
    return show(request, "portal/form.html", context)


@page
def equity(request: TenantRequest, account_id: UUID) -> HttpResponseBase:
    """Equity and drawdown, as static/src/chart_data.ts reads them."""
    found = get_object_or_404(BrokerAccount, pk=account_id)
    peak = found.starting_cash
    points: list[list[float]] = []
    for at, _cash, worth in trading.equity_curve(found.pk, points=MOST_POINTS):
        if not points:
            # What it began with, a minute before the first time it was marked.
            points.append([int(at.timestamp()) - 60, float(peak), 0.0])
        peak = max(peak, worth)
        points.append([int(at.timestamp()), float(worth), float(worth / peak - 1)])
    phases = [{"from": points[0][0], "kind": found.mode}] if points else []
    answer = {"points": points, "hold": [], "phases": phases}
    return JsonResponse(answer, headers={"Cache-Control": "no-store"})


def _limits_form(row: RiskLimits, request: TenantRequest | None = None) -> LimitsForm:
    sent = request.POST if request is not None and request.method == "POST" else None
    return LimitsForm(sent, initial=LimitsForm.shown(row), instruments=selectors.tradable())


def _plain_label(given: object) -> str:
    """Without the unit, which stands at the value."""
    label = str(given)
    return label.partition(",")[0] if label.endswith(("%", "seconds")) else label


def _said(row: RiskLimits, name: str) -> str:
    if name == "allowed_instruments":
        count = len(row.allowed_instruments)
        return f"{count} chosen" if count else "every instrument"
    value = LimitsForm.shown(row)[name]
    if value is None or (name == "duplicate_window_s" and not value):
        return "no limit"
    unit = " %" if name in LimitsForm.PERCENT else " s" if name.endswith("_s") else ""
    return f"{float(value):,.10g}{unit}"
