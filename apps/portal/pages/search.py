"""Search: an id, a symbol or a name, across everything that has a page."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from apps.accounts.identity import TenantRequest
from apps.marketdata.models import Instrument
from apps.portal import chain, selectors
from apps.portal.pages.doors import page, show
from apps.signals.models import Decision, Signal
from apps.trading import selectors as trading
from apps.trading.models import BrokerAccount, Deployment, Fill, Order, Position, Trade
from apps.webhooks.models import Alert, Endpoint

EACH = 8
# What has a page, by the name of the page.
PAGES: dict[str, Any] = {
    "signal": Signal,
    "order": Order,
    "trade": Trade,
    "alert": Alert,
    "decision": Decision,
    "position": Position,
    "account": BrokerAccount,
    "deployment": Deployment,
    "webhook": Endpoint,
}


@dataclass(frozen=True, slots=True)
class Hit:
    """One find."""

    kind: str
    text: str
    url: str


@page
def search(request: TenantRequest) -> HttpResponseBase:
    asked = request.GET.get("q", "").replace("\0", "").strip()[:100]
    if url := _by_id(asked):
        return redirect(url)
    hits = _by_words(asked) if asked else []
    return show(request, "portal/search.html", {"q": asked, "hits": hits})


def _by_id(asked: str) -> str:
    """The page of the object with this id, where it is one of this tenant's."""
    try:
        wanted = UUID(asked)
    except ValueError:
        order = Order.objects.filter(client_order_id=asked).first() if asked else None
        return reverse("order", args=[order.pk]) if order else ""
    for name, model in PAGES.items():
        if model.objects.filter(pk=wanted).exists():
            return reverse(name, args=[wanted])
    fill = Fill.objects.filter(pk=wanted).first()
    if fill:
        return reverse("order", args=[fill.order_id])
    is_instrument = Instrument.objects.filter(pk=wanted).exists()
    return reverse("chart", args=[wanted]) if is_instrument else ""


def _by_words(asked: str) -> list[Hit]:
    ticker = asked.rpartition(":")[2]
    named = Q(instrument__symbol__icontains=ticker)
    signals = selectors.signals().filter(named | Q(ticker__icontains=asked))
    return [
        *_hits("Instrument", "chart", Instrument.objects.filter(symbol__icontains=ticker), str),
        *_hits("Webhook", "webhook", Endpoint.objects.filter(name__icontains=asked), str),
        *_hits("Deployment", "deployment", Deployment.objects.filter(name__icontains=asked), str),
        *_hits("Account", "account", BrokerAccount.objects.filter(name__icontains=asked), str),
        *_hits("Signal", "signal", signals, chain.sentence),
        *_hits("Order", "order", trading.orders().filter(named), chain.order_sentence),
        *_hits("Trade", "trade", trading.trades().filter(named), chain.trade_sentence),
    ]


def _hits(kind: str, name: str, rows: QuerySet[Any], said: Any) -> list[Hit]:
    newest = rows.order_by("-pk")[:EACH]
    return [Hit(kind, said(row), reverse(name, args=[row.pk])) for row in newest]
