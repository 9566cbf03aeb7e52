"""The API of this room: signals, and what was decided on them."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics, serializers

from apps.signals import selectors
from apps.signals.models import Decision, Signal

FILTERS = [
    OpenApiParameter("ticker", str, description="As the message wrote it, in any case."),
    OpenApiParameter("action", str, enum=Signal.Action.values),
    OpenApiParameter("outcome", str, enum=Decision.Outcome.values),
]


class DecisionOut(serializers.ModelSerializer[Decision]):
    class Meta:
        model = Decision
        fields: ClassVar[list[str]] = [
            "id",
            "alert_id",
            "signal_id",
            "deployment_id",
            "outcome",
            "code",
            "text",
            "decided_at",
        ]


class SignalOut(serializers.ModelSerializer[Signal]):
    decisions = DecisionOut(many=True, read_only=True)
    score = serializers.FloatField(
        allow_null=True,
        help_text="Probability that the signal's trade ends in profit; null: not scored.",
    )

    class Meta:
        model = Signal
        fields: ClassVar[list[str]] = [
            "id",
            "alert_id",
            "instrument_id",
            "ticker",
            "action",
            "quantity",
            "price",
            "stop_loss",
            "take_profit",
            "strategy",
            "timeframe",
            "fired_at",
            "created_at",
            "score",
            "decisions",
        ]


class SignalInFull(SignalOut):
    order_ids = serializers.SerializerMethodField(help_text="Orders written for this signal.")

    class Meta(SignalOut.Meta):
        fields: ClassVar[list[str]] = [
            *SignalOut.Meta.fields,
            "reading",
            "features",
            "order_ids",
        ]

    def get_order_ids(self, signal: Signal) -> list[str]:
        return [str(pk) for pk in selectors.order_ids(signal)]


@extend_schema_view(get=extend_schema(summary="Signals, newest first", parameters=FILTERS))
class Signals(generics.ListAPIView[Signal]):
    required_scope = "read"
    serializer_class = SignalOut

    def get_queryset(self) -> QuerySet[Signal]:
        asked = self.request.query_params
        return selectors.signals(
            ticker=asked.get("ticker", ""),
            action=asked.get("action", ""),
            outcome=asked.get("outcome", ""),
        )


@extend_schema_view(get=extend_schema(summary="One signal with its reading and its orders"))
class OneSignal(generics.RetrieveAPIView[Signal]):
    required_scope = "read"
    serializer_class = SignalInFull

    def get_queryset(self) -> QuerySet[Signal]:
        return selectors.signals()


@extend_schema_view(get=extend_schema(summary="Decisions, newest first", parameters=[FILTERS[2]]))
class Decisions(generics.ListAPIView[Decision]):
    required_scope = "read"
    serializer_class = DecisionOut

    def get_queryset(self) -> QuerySet[Decision]:
        rows: QuerySet[Decision] = Decision.objects.all()
        outcome: Any = self.request.query_params.get("outcome")
        return rows.filter(outcome=outcome) if outcome else rows
