"""Positions: what is held now, at the last price, and what it risks."""

from uuid import UUID

from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone

from apps.accounts.identity import TenantRequest
from apps.accounts.models import Scope
from apps.portal import selectors
from apps.portal.lists import Column, Filter, Listing, Rows
from apps.portal.pages.doors import action, attempt, page, show
from apps.portal.pages.orders import account_choices
from apps.trading import selectors as trading
from apps.trading import services
from apps.trading.models import Fill


def of_state(rows: Rows, value: str) -> Rows:
    return rows.filter(quantity=0) if value == "flat" else rows


STATES = [("flat", "Flat"), ("all", "Open and flat")]
LISTING = Listing(
    name="positions",
    columns=[
        Column("Instrument", "instrument_id"),
        Column("Account"),
        Column("Quantity", "quantity", is_number=True),
        Column("Average price", is_number=True),
        Column("Last price", is_number=True),
        Column("Value", is_number=True),
        Column("Open profit", is_number=True),
        Column("Risk to stops", is_number=True),
        Column("Realized", "realized", is_number=True),
    ],
    filters=[
        Filter("state", "State", STATES, of_state, unchosen="Open"),
        Filter(
            "account", "Account", account_choices, lambda rows, value: rows.filter(account=value)
        ),
    ],
    search=("instrument__symbol", "instrument__name"),
    sort="-updated_at",
    export={
        "id": lambda row: row.pk,
        "account": lambda row: row.account.name,
        "mode": lambda row: row.account.mode,
        "instrument": lambda row: row.instrument,
        "quantity": lambda row: row.quantity,
        "cost": lambda row: row.cost,
        "realized": lambda row: row.realized,
        "fees": lambda row: row.fees,
        "updated_at": lambda row: row.updated_at,
    },
)


@page
def positions(request: TenantRequest) -> HttpResponseBase:
    # Flat ones are history: they are shown when asked for.
    rows = selectors.positions().filter(updated_at__isnull=False)
    if request.GET.get("state") not in dict(STATES):
        rows = rows.exclude(quantity=0)
    if request.GET.get("format") == "csv":
        return LISTING.csv(request, rows)
    listed = LISTING.page(request, rows)
    context = {"page": listed, "holdings": selectors.holdings(listed.rows)}
    return show(request, "portal/positions.html", context, rows="portal/positions_rows.html")


@page
def position(request: TenantRequest, position_id: UUID) -> HttpResponseBase:
    found = get_object_or_404(selectors.positions(), pk=position_id)
    here = {"account": found.account_id, "instrument": found.instrument_id}
    context = {
        "position": found,
        "holding": selectors.holdings([found])[0],
        "open_orders": trading.orders(status="open").filter(**here),
        "fills": Fill.objects.filter(**here).order_by("-executed_at", "-pk")[:50],
        "trades": trading.trades().filter(**here)[:20],
    }
    return show(request, "portal/position.html", context, object="portal/position_object.html")


@action(Scope.TRADE)
def close(request: TenantRequest, position_id: UUID) -> HttpResponseBase:
    attempt(
        request,
        lambda: services.close_position(
            position_id=position_id, by=request.identity.actor, now=timezone.now()
        ),
        done="A market order that closes the position is on its way.",
    )
    return redirect("position", position_id)
