"""Orders: what the market was told and what it answered."""

from decimal import Decimal, InvalidOperation
from uuid import UUID

from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone

from apps.accounts.identity import TenantRequest
from apps.accounts.models import Scope
from apps.portal import chain
from apps.portal.lists import Column, Filter, Listing, Rows
from apps.portal.pages.doors import action, attempt, page, show
from apps.portal.templatetags import figures
from apps.trading import selectors as trading
from apps.trading import services
from apps.trading.models import BrokerAccount, Order

# Said by the order's being there.
UNSAID = ("passed", "limits")
FRACTIONS = ("max_daily_loss", "price_band")


def account_choices() -> list[tuple[str, str]]:
    return [(str(pk), name) for pk, name in BrokerAccount.objects.values_list("pk", "name")]


def of_status(rows: Rows, value: str) -> Rows:
    return rows.filter(status__in=Order.OPEN) if value == "open" else rows.filter(status=value)


LISTING = Listing(
    name="orders",
    columns=[
        Column("Order", "instrument_id"),
        Column("When", "created_at"),
        Column("Account"),
        Column("Role", "role"),
        Column("Quantity", "quantity", is_number=True),
        Column("Price", is_number=True),
        Column("Filled", is_number=True),
        Column("State", "status"),
    ],
    filters=[
        Filter("status", "State", [("open", "Open"), *Order.Status.choices], of_status),
        Filter("side", "Side", Order.Side.choices, lambda rows, value: rows.filter(side=value)),
        Filter("role", "Role", Order.Role.choices, lambda rows, value: rows.filter(role=value)),
        Filter(
            "account", "Account", account_choices, lambda rows, value: rows.filter(account=value)
        ),
    ],
    search=("instrument__symbol", "client_order_id", "status_text"),
    sort="-created_at",
    export={
        "id": lambda row: row.pk,
        "client_order_id": lambda row: row.client_order_id,
        "created_at": lambda row: row.created_at,
        "account": lambda row: row.account.name,
        "mode": lambda row: row.account.mode,
        "instrument": lambda row: row.instrument,
        "role": lambda row: row.role,
        "side": lambda row: row.side,
        "type": lambda row: row.kind,
        "quantity": lambda row: row.quantity,
        "limit_price": lambda row: row.limit_price,
        "stop_price": lambda row: row.stop_price,
        "filled_quantity": lambda row: row.filled_quantity,
        "average_price": lambda row: average(row),
        "status": lambda row: row.status,
        "reason": lambda row: row.status_text,
        "signal_id": lambda row: row.signal_id,
    },
)


def average(order: Order) -> object:
    """Quote currency per unit."""
    return order.average_price and order.average_price / order.instrument.point_value


@page
def orders(request: TenantRequest) -> HttpResponseBase:
    rows = trading.orders()
    if request.GET.get("format") == "csv":
        return LISTING.csv(request, rows)
    listed = LISTING.page(request, rows)
    for row in listed.rows:
        row.average = average(row)
    return show(request, "portal/orders.html", {"page": listed}, rows="portal/orders_rows.html")


@page
def order(request: TenantRequest, order_id: UUID) -> HttpResponseBase:
    rows = Order.objects.select_related("instrument", "account", "deployment", "parent")
    found = get_object_or_404(rows, pk=order_id)
    steps = chain.of_order(found)
    context = {
        "order": found,
        "average": average(found),
        "sentence": chain.order_sentence(found),
        "steps": steps,
        "links": steps.links(),
        "history": trading.order_history(found.pk),
        "siblings": trading.orders()
        .filter(parent=found.parent_id or found.pk)
        .exclude(pk=found.pk),
        "slippage": _slippage(found),
        "checks": _checks(found),
    }
    return show(request, "portal/order.html", context, object="portal/order_object.html")


@action(Scope.TRADE)
def cancel(request: TenantRequest, order_id: UUID) -> HttpResponseBase:
    attempt(
        request,
        lambda: services.request_cancel(
            order_id=order_id, by=request.identity.actor, now=timezone.now()
        ),
        done="The cancellation is asked; the desk carries it out.",
    )
    return redirect("order", order_id)


def _siblings(order: Order) -> Rows:
    """The other legs of its bracket."""
    legs = trading.orders().filter(parent=order.parent_id or order.pk)
    return legs.exclude(pk=order.pk)


def _slippage(order: Order) -> object:
    """Average fill against the price it was decided at, a fraction; positive is worse."""
    reached = average(order)
    if not order.decision_price or not reached:
        return None
    side = 1 if order.side == Order.Side.BUY else -1
    return (reached - order.decision_price) / order.decision_price * side


def _checks(order: Order) -> list[tuple[str, object]]:
    """What was measured when the limits were checked, and the limits themselves."""
    measured = [(name, value) for name, value in order.risk.items() if name not in UNSAID]
    limits = order.risk.get("limits")
    held = list(limits.items()) if isinstance(limits, dict) else []
    return [
        (figures.words(name), _figure(name, value))
        for name, value in measured + held
        if value not in (None, "", [], {})
    ]


def _figure(name: str, value: object) -> object:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return value
    return figures.percent(number) if name in FRACTIONS else figures.quantity(number)
