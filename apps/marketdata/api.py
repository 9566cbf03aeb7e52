"""The API of this room: instruments, their closed bars, and what they cost now."""

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.errors import NotFound
from apps.marketdata import selectors
from apps.marketdata.models import Instrument, Quote
from apps.marketdata.sessions import to_datetime
from ml.bars import SECOND_NS, Bars

INTERVALS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14_400, "1d": 86_400}
LARGEST_PAGE = 5_000


class InstrumentOut(serializers.ModelSerializer[Instrument]):
    class Meta:
        model = Instrument
        fields: ClassVar[list[str]] = [
            "id", "symbol", "exchange", "name", "asset_class", "currency", "tick_size",
            "lot_size", "point_value", "calendar", "fee_rate", "slippage_ticks", "is_active",
        ]  # fmt: skip


class QuoteOut(serializers.ModelSerializer[Quote]):
    """The newest price; ``at`` is the market's time, ``received_at`` the wall clock's."""

    class Meta:
        model = Quote
        fields: ClassVar[list[str]] = ["instrument_id", "price", "at", "received_at"]


class InstrumentFilter(serializers.Serializer[Any]):
    search = serializers.CharField(required=False, max_length=64)
    asset_class = serializers.ChoiceField(required=False, choices=Instrument.AssetClass.choices)
    exchange = serializers.CharField(required=False, max_length=32)
    is_active = serializers.BooleanField(required=False, default=True)


class Instruments(ListAPIView[Instrument]):
    """Instruments, newest first; ``search`` looks into symbol and name."""

    required_scope = "read"
    serializer_class = InstrumentOut
    queryset = Instrument.objects.all()

    @extend_schema(parameters=[InstrumentFilter])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Instrument]:
        asked = InstrumentFilter(data=self.request.query_params)
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        rows = Instrument.objects.filter(is_active=wanted["is_active"])
        if search := wanted.get("search"):
            rows = rows.filter(Q(symbol__icontains=search) | Q(name__icontains=search))
        if asset_class := wanted.get("asset_class"):
            rows = rows.filter(asset_class=asset_class)
        if exchange := wanted.get("exchange"):
            rows = rows.filter(exchange=exchange.upper())
        return rows


class InstrumentDetail(RetrieveAPIView[Instrument]):
    """One instrument."""

    required_scope = "read"
    serializer_class = InstrumentOut
    queryset = Instrument.objects.all()


class InstrumentQuote(APIView):
    """What an instrument costs now."""

    required_scope = "read"

    @extend_schema(responses=QuoteOut)
    def get(self, request: Request, pk: UUID) -> Response:
        newest = selectors.quote(_known(pk).pk)
        if newest is None:
            raise NotFound("no price of this instrument has been received yet")
        return Response(QuoteOut(newest).data)


class Moment(serializers.Field[datetime, str, Any, Any]):
    """ISO 8601 with its time zone, or seconds since 1970."""

    def to_internal_value(self, data: Any) -> datetime:
        try:
            written = str(data)
            if written.lstrip("-").isdigit():
                return datetime.fromtimestamp(int(written), UTC)
            at = datetime.fromisoformat(written)
        except (ValueError, OverflowError, OSError):
            raise serializers.ValidationError("Write 2026-01-31T09:30:00Z or seconds.") from None
        if at.tzinfo is None:
            raise serializers.ValidationError("Say the time zone: 2026-01-31T09:30:00Z.")
        return at.astimezone(UTC)

    def to_representation(self, value: datetime) -> str:
        return value.isoformat()


class BarsAsked(serializers.Serializer[Any]):
    interval = serializers.ChoiceField(choices=list(INTERVALS), default="1m")
    start = Moment(required=False)
    end = Moment(required=False)
    limit = serializers.IntegerField(min_value=1, max_value=LARGEST_PAGE, default=500)
    shape = serializers.ChoiceField(choices=["columns", "rows"], default="columns")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "start" in attrs and "end" in attrs and attrs["start"] > attrs["end"]:
            raise serializers.ValidationError({"end": "The end is before the start."})
        return attrs


class FormingOut(serializers.Serializer[Any]):
    """The bar that is still forming, as far as it has come; of the feed's own interval."""

    interval_s = serializers.IntegerField()
    time = serializers.IntegerField(help_text="Its open, seconds since 1970 UTC.")
    open = serializers.FloatField()
    high = serializers.FloatField()
    low = serializers.FloatField()
    price = serializers.FloatField(help_text="The newest price; the close is not known yet.")
    volume = serializers.FloatField()


class BarsPage(serializers.Serializer[Any]):
    limit = serializers.IntegerField()
    has_more = serializers.BooleanField()
    next_cursor = serializers.CharField(
        allow_null=True,
        help_text="Where to go on: the next `start` when a start was given, else the next `end`.",
    )


class BarsOut(serializers.Serializer[Any]):
    instrument_id = serializers.UUIDField()
    interval = serializers.CharField()
    data = serializers.JSONField(  # type: ignore[assignment]
        help_text="Closed bars, oldest first. Columns: time (seconds since 1970 UTC, of the open),"
        " open, high, low, close, volume, each a list. Rows: lists of these six."
    )
    forming = FormingOut(allow_null=True)
    pagination = BarsPage()


class InstrumentBars(APIView):
    """Closed bars: those from ``start`` on, or without a start the newest before ``end``."""

    required_scope = "read"

    @extend_schema(
        parameters=[
            OpenApiParameter("interval", enum=list(INTERVALS), default="1m"),
            OpenApiParameter("start", description="Earliest open: ISO 8601 or epoch seconds."),
            OpenApiParameter("end", description="First open that is too late, likewise."),
            OpenApiParameter("limit", int, description=f"At most {LARGEST_PAGE}."),
            OpenApiParameter("shape", enum=["columns", "rows"], default="columns"),
        ],
        responses=BarsOut,
    )
    def get(self, request: Request, pk: UUID) -> Response:
        asked = BarsAsked(data=request.query_params)
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        instrument = _known(pk)
        # Before the bars: a bar that closes in between is then shown twice rather than not at all.
        newest = selectors.quote(instrument.pk)
        bars, has_more = _page(instrument, wanted)
        return Response(
            {
                "instrument_id": str(instrument.pk),
                "interval": wanted["interval"],
                "data": _columns(bars) if wanted["shape"] == "columns" else _rows(bars),
                "forming": _forming(newest),
                "pagination": {
                    "limit": wanted["limit"],
                    "has_more": has_more,
                    "next_cursor": _cursor(bars, wanted) if has_more else None,
                },
            }
        )


def _known(instrument_id: UUID) -> Instrument:
    instrument = Instrument.objects.filter(pk=instrument_id).first()
    if instrument is None:
        raise NotFound("there is no such instrument")
    return instrument


def _page(instrument: Instrument, wanted: dict[str, Any]) -> tuple[Bars, bool]:
    interval_s, limit = INTERVALS[wanted["interval"]], wanted["limit"]
    start, end = wanted.get("start"), wanted.get("end")
    if start is None:
        # One more than asked for tells whether there are more.
        bars = selectors.latest_bars(instrument.pk, interval_s, limit + 1, end=end)
        return bars[max(0, len(bars) - limit) :], len(bars) > limit
    bars = selectors.bars_between(instrument.pk, interval_s, start, end)
    return bars[:limit], len(bars) > limit


def _cursor(bars: Bars, wanted: dict[str, Any]) -> str:
    # The bar behind the last one opens at the earliest an interval later.
    if "start" in wanted:
        following = int(bars.time[-1]) + INTERVALS[wanted["interval"]] * SECOND_NS
        return to_datetime(following).isoformat()
    return to_datetime(int(bars.time[0])).isoformat()


def _columns(bars: Bars) -> dict[str, list[Any]]:
    return {
        "time": (bars.time // SECOND_NS).tolist(),
        "open": bars.open.tolist(),
        "high": bars.high.tolist(),
        "low": bars.low.tolist(),
        "close": bars.close.tolist(),
        "volume": bars.volume.tolist(),
    }


def _rows(bars: Bars) -> list[list[Any]]:
    return [list(row) for row in zip(*_columns(bars).values(), strict=True)]


def _forming(newest: Quote | None) -> dict[str, Any] | None:
    if newest is None or not newest.is_forming:
        return None
    return {
        "interval_s": newest.interval_s,
        "time": int(newest.opened_at.timestamp()),
        "open": float(newest.open),
        "high": float(newest.high),
        "low": float(newest.low),
        "price": float(newest.price),
        "volume": float(newest.volume),
    }
