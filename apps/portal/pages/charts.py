"""Charts: an instrument's bars with what was done, refused and is waiting there."""

from typing import Any, Final
from uuid import UUID

from django.db.models import Exists, OuterRef
from django.http import JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse

from apps.accounts.identity import TenantRequest
from apps.core.errors import Invalid
from apps.marketdata import selectors as market
from apps.marketdata.models import Instrument, Quote
from apps.portal import chain, selectors
from apps.portal.pages.doors import page, show
from apps.portal.templatetags import figures
from apps.signals.models import Decision, Signal
from apps.trading import selectors as trading
from apps.trading.models import Fill, Order
from ml.bars import SECOND_NS

INTERVALS: Final = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14_400, "1d": 86_400}
MOST_BARS: Final = 3_000
MOST_MARKERS: Final = 300
LINE_OF: Final = {"stop": "stop", "target": "target"}


@page
def charts(request: TenantRequest) -> HttpResponseBase:
    instruments = selectors.tradable()
    quotes = market.quotes([each.pk for each in instruments])
    context = {"instruments": [(each, quotes.get(each.pk)) for each in instruments]}
    return show(request, "portal/charts.html", context, rows="portal/charts_rows.html")


@page
def chart(request: TenantRequest, instrument_id: UUID) -> HttpResponseBase:
    instrument = get_object_or_404(Instrument, pk=instrument_id)
    quote = market.quote(instrument.pk)
    interval = _interval(request)
    fills = _fills(instrument)[:30]
    context = {
        "instrument": instrument,
        "quote": quote,
        "interval": interval,
        "intervals": list(INTERVALS),
        # Live bars are of the feed's own interval; longer ones are read anew.
        "live_id": instrument.pk if quote and INTERVALS[interval] == quote.interval_s else "",
        "bars_url": f"{reverse('chart-bars', args=[instrument.pk])}?interval={interval}",
        "holdings": selectors.holdings(
            selectors.positions().filter(instrument=instrument).exclude(quantity=0)
        ),
        "open_orders": _open_orders(instrument),
        "fills": fills,
        "rejected": _rejected(instrument)[:20],
    }
    return show(request, "portal/chart.html", context, beside="portal/chart_beside.html")


@page
def bars(request: TenantRequest, instrument_id: UUID) -> HttpResponseBase:
    """Bars, markers and lines, as static/src/chart_data.ts reads them."""
    instrument = get_object_or_404(Instrument, pk=instrument_id)
    # Before the bars, so that one that closes in between is drawn twice rather than not at all.
    quote = market.quote(instrument.pk)
    interval_s = INTERVALS[_interval(request)]
    try:
        found = market.latest_bars(instrument.pk, interval_s, MOST_BARS)
    except Invalid as refusal:
        return JsonResponse({"detail": refusal.message, "code": refusal.code}, status=422)
    columns = ((found.time // SECOND_NS), found.open, found.high, found.low, found.close)
    rows = [list(row) for row in zip(*(x.tolist() for x in (*columns, found.volume)), strict=True)]
    if quote and quote.is_forming and quote.interval_s == interval_s:
        rows.append(_forming(quote))
    answer = {"bars": rows, "markers": _markers(instrument), "lines": _lines(instrument)}
    return JsonResponse(answer, headers={"Cache-Control": "no-store"})


def _interval(request: TenantRequest) -> str:
    asked = request.GET.get("interval", "")
    return asked if asked in INTERVALS else "1m"


def _forming(quote: Quote) -> list[float]:
    prices = (quote.open, quote.high, quote.low, quote.price, quote.volume)
    return [int(quote.opened_at.timestamp()), *map(float, prices)]


def _fills(instrument: Instrument) -> Any:
    rows = Fill.objects.select_related("order", "instrument", "account")
    return rows.filter(instrument=instrument).order_by("-executed_at", "-pk")


def _open_orders(instrument: Instrument) -> Any:
    return trading.orders(status="open").filter(instrument=instrument)


def _rejected(instrument: Instrument) -> Any:
    refused = Decision.objects.filter(signal=OuterRef("pk"), outcome="rejected")
    rows = selectors.signals().filter(Exists(refused), instrument=instrument)
    return rows.order_by("-created_at")


def _markers(instrument: Instrument) -> list[dict[str, Any]]:
    done = [
        {
            "time": int(fill.executed_at.timestamp()),
            "kind": "entry" if fill.order.role == Order.Role.ENTRY else "exit",
            "side": fill.side,
            "text": f"{figures.words(fill.side)} {figures.quantity(fill.quantity)}",
            "href": reverse("order", args=[fill.order_id]),
        }
        for fill in _fills(instrument)[:MOST_MARKERS]
    ]
    refused = [
        {
            "time": int(_market_time(signal).timestamp()),
            "kind": "rejected",
            "side": "sell" if signal.action == Signal.Action.SELL else "buy",
            "text": chain.sentence(signal),
            "href": reverse("signal", args=[signal.pk]),
        }
        for signal in _rejected(instrument)[:MOST_MARKERS]
    ]
    return done + refused


def _market_time(signal: Signal) -> Any:
    return signal.fired_at or signal.created_at


def _lines(instrument: Instrument) -> list[dict[str, Any]]:
    rows = _open_orders(instrument).exclude(kind=Order.Kind.MARKET)[:40]
    return [
        {
            "price": float(order.stop_price or order.limit_price),
            "kind": LINE_OF.get(order.role, "limit"),
            "text": f"{order.get_role_display()} {figures.quantity(order.remaining_quantity)}",
        }
        for order in rows
    ]
