"""The kill switch: stop at once, then choose what else, and resume."""

from django.contrib import messages
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone

from apps.accounts.identity import TenantRequest
from apps.accounts.models import Scope
from apps.core.models import Event
from apps.portal import selectors
from apps.portal.forms import HaltForm
from apps.portal.pages.doors import action, page, show
from apps.trading import services
from apps.trading import switch as trading
from apps.trading.models import Order, Position


@page
def switch(request: TenantRequest) -> HttpResponseBase:
    held = selectors.positions().exclude(quantity=0)
    context = {
        "state": trading.state(),
        "holdings": selectors.holdings(held),
        "open_orders": Order.objects.filter(status__in=Order.OPEN, reduce_only=False).count(),
        "history": Event.objects.filter(subject="switch").order_by("-sequence")[:20],
    }
    return show(request, "portal/switch.html", context, object="portal/switch_object.html")


@action(Scope.TRADE)
def halt(request: TenantRequest) -> HttpResponseBase:
    form = HaltForm(request.POST)
    form.is_valid()
    typed = form.cleaned_data
    reason = typed.get("reason") or f"stopped by {request.identity.user.email}"
    flatten = typed.get("flatten", False)
    services.halt_trading(
        reason=reason, flatten=flatten, by=request.identity.actor, now=timezone.now()
    )
    held = Position.objects.exclude(quantity=0).count()
    if flatten:
        messages.warning(request, "Trading is stopped; open positions are being closed.")
    elif held:
        messages.warning(request, f"Trading is stopped. {held} positions are still open.")
    else:
        messages.warning(request, "Trading is stopped. Nothing is held.")
    return redirect("switch")


@action(Scope.TRADE)
def resume(request: TenantRequest) -> HttpResponseBase:
    services.resume_trading(by=request.identity.actor, now=timezone.now())
    messages.success(request, "Trading goes on. Nothing that was canceled comes back.")
    return redirect("switch")
