"""Trades: positions from flat to flat, net of costs, with how they went as a whole."""

from uuid import UUID

from django.db.models import F
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404

from apps.accounts.identity import TenantRequest
from apps.portal import chain, selectors
from apps.portal.lists import Column, Filter, Listing, Rows
from apps.portal.pages.doors import page, show
from apps.portal.pages.orders import account_choices
from apps.trading import selectors as trading
from apps.trading.models import Trade


def of_result(rows: Rows, value: str) -> Rows:
    if value == "open":
        return rows.filter(closed_at__isnull=True)
    closed = rows.filter(closed_at__isnull=False)
    return closed.filter(profit__gt=0) if value == "won" else closed.filter(profit__lte=0)


LISTING = Listing(
    name="trades",
    columns=[
        Column("Trade", "instrument_id"),
        Column("Account"),
        Column("Opened", "opened_at"),
        Column("Closed"),
        Column("Quantity", "entry_quantity", is_number=True),
        Column("Entry", is_number=True),
        Column("Exit", is_number=True),
        Column("Fees", "fees", is_number=True),
        Column("Net profit", "profit", is_number=True),
    ],
    filters=[
        Filter("result", "Result", [("won", "Won"), ("lost", "Lost"), ("open", "Open")], of_result),
        Filter(
            "direction",
            "Direction",
            Trade.Direction.choices,
            lambda rows, value: rows.filter(direction=value),
        ),
        Filter(
            "account", "Account", account_choices, lambda rows, value: rows.filter(account=value)
        ),
    ],
    search=("instrument__symbol", "deployment__name"),
    sort="-opened_at",
    export={
        "id": lambda row: row.pk,
        "account": lambda row: row.account.name,
        "mode": lambda row: row.account.mode,
        "instrument": lambda row: row.instrument,
        "direction": lambda row: row.direction,
        "opened_at": lambda row: row.opened_at,
        "closed_at": lambda row: row.closed_at,
        "quantity": lambda row: row.entry_quantity,
        "entry_price": lambda row: entry_price(row),
        "exit_price": lambda row: exit_price(row),
        "fees": lambda row: row.fees,
        "profit": lambda row: row.profit,
        "currency": lambda row: row.instrument.currency,
    },
)


def entry_price(trade: Trade) -> object:
    quantity = trade.entry_quantity * trade.instrument.point_value
    return trade.entry_value / quantity if quantity else None


def exit_price(trade: Trade) -> object:
    quantity = trade.exit_quantity * trade.instrument.point_value
    return trade.exit_value / quantity if quantity else None


@page
def trades(request: TenantRequest) -> HttpResponseBase:
    rows = trading.trades()
    if request.GET.get("format") == "csv":
        return LISTING.csv(request, rows)
    listed = LISTING.page(request, rows)
    for row in listed.rows:
        row.entry_price, row.exit_price = entry_price(row), exit_price(row)
    context = {"page": listed, "records": _records(rows)}
    return show(request, "portal/trades.html", context, rows="portal/trades_rows.html")


@page
def trade(request: TenantRequest, trade_id: UUID) -> HttpResponseBase:
    found = get_object_or_404(trading.trades(), pk=trade_id)
    steps = chain.of_trade(found)
    context = {
        "trade": found,
        "entry_price": entry_price(found),
        "exit_price": exit_price(found),
        "return_fraction": found.profit / found.entry_value if found.entry_value else None,
        "sentence": chain.trade_sentence(found),
        "steps": steps,
        "links": steps.links(),
    }
    return show(request, "portal/trade.html", context, object="portal/trade_object.html")


def _records(rows: Rows) -> list[tuple[str, selectors.Record]]:
    """Money of different currencies is never added."""
    currencies = rows.order_by().values_list(F("instrument__currency"), flat=True).distinct()
    return [
        (currency, selectors.record(rows.filter(instrument__currency=currency)))
        for currency in currencies[:4]
    ]
