"""How this room's rows look in the API: Alpaca's names where it has them, decimals as strings."""

from decimal import Decimal
from typing import Any, ClassVar

from drf_spectacular.utils import (
    OpenApiExample,
    extend_schema_field,
    extend_schema_serializer,
    inline_serializer,
)
from rest_framework import serializers

from apps.core.models import Event
from apps.trading.models import (
    BrokerAccount,
    Deployment,
    Fill,
    Order,
    Position,
    RiskLimits,
    Trade,
    TradingState,
)

QUANTITY: dict[str, Any] = {"max_digits": 24, "decimal_places": 8}
PRICE: dict[str, Any] = {"max_digits": 20, "decimal_places": 10}
MONEY: dict[str, Any] = {"max_digits": 38, "decimal_places": 18, "normalize_output": True}
RATE: dict[str, Any] = {"max_digits": 9, "decimal_places": 6, "normalize_output": True}
LIMIT_FIELDS = [
    "max_order_notional", "max_daily_notional", "max_position_notional", "max_order_quantity",
    "max_open_positions", "max_orders_per_minute", "price_band", "max_leverage",
    "duplicate_window_s", "max_daily_loss", "allowed_instruments",
]  # fmt: skip


class LimitsOut(serializers.ModelSerializer[RiskLimits]):
    """What an account may never exceed; null is no limit, rates are fractions."""

    class Meta:
        model = RiskLimits
        fields: ClassVar[list[str]] = LIMIT_FIELDS


class LimitsIn(serializers.Serializer[Any]):
    """Only the limits that are named change; null takes one away."""

    max_order_notional = serializers.DecimalField(required=False, allow_null=True, **MONEY)
    max_daily_notional = serializers.DecimalField(required=False, allow_null=True, **MONEY)
    max_position_notional = serializers.DecimalField(required=False, allow_null=True, **MONEY)
    max_order_quantity = serializers.DecimalField(required=False, allow_null=True, **QUANTITY)
    max_open_positions = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=100_000
    )
    max_orders_per_minute = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=100_000
    )
    price_band = serializers.DecimalField(required=False, allow_null=True, **RATE)
    max_leverage = serializers.DecimalField(required=False, allow_null=True, **RATE)
    duplicate_window_s = serializers.IntegerField(required=False, min_value=0, max_value=86_400)
    max_daily_loss = serializers.DecimalField(required=False, allow_null=True, **RATE)
    allowed_instruments = serializers.ListField(
        required=False, child=serializers.UUIDField(), max_length=500
    )


class AccountOut(serializers.Serializer[Any]):
    """An account, its worth and its risk now; amounts in its own currency."""

    id = serializers.UUIDField(source="account.id")
    name = serializers.CharField(source="account.name")
    broker = serializers.ChoiceField(source="account.broker", choices=BrokerAccount.Broker.choices)
    mode = serializers.ChoiceField(source="account.mode", choices=BrokerAccount.Mode.choices)
    state = serializers.ChoiceField(source="account.state", choices=BrokerAccount.State.choices)
    currency = serializers.CharField(source="account.currency")
    starting_cash = serializers.DecimalField(source="account.starting_cash", **MONEY)
    cash = serializers.DecimalField(**MONEY)
    equity = serializers.DecimalField(**MONEY)
    day_change = serializers.DecimalField(**MONEY)
    drawdown = serializers.DecimalField(
        max_digits=38, decimal_places=6, help_text="Fraction of the highest equity so far."
    )
    risk_to_stops = serializers.DecimalField(**MONEY)
    unprotected = serializers.DecimalField(**MONEY)
    gross_value = serializers.DecimalField(source="margin", **MONEY)
    open_positions = serializers.IntegerField()
    differences = serializers.JSONField(
        source="account.differences",
        help_text="By instrument: what is booked and what the broker holds, where they differ.",
    )
    created_at = serializers.DateTimeField(source="account.created_at")


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "A paper account",
            value={
                "name": "Swing",
                "starting_cash": "100000",
                "limits": {"max_order_notional": "20000", "max_daily_loss": "0.03"},
            },
            request_only=True,
        )
    ]
)
class AccountIn(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80)
    starting_cash = serializers.DecimalField(max_digits=20, decimal_places=2, min_value=Decimal(1))
    currency = serializers.RegexField(r"^[A-Z]{3,5}$", default="USD")
    limits = LimitsIn(required=False)


class AccountChange(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80, required=False)
    state = serializers.ChoiceField(choices=["active", "halted"], required=False)
    reason = serializers.CharField(max_length=200, required=False, default="Halted by a client.")
    flatten = serializers.BooleanField(required=False, default=False)


class EquityOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    cash = serializers.DecimalField(**MONEY)
    equity = serializers.DecimalField(**MONEY)


CurveOut = inline_serializer("Curve", {"data": EquityOut(many=True)})


class DeploymentOut(serializers.ModelSerializer[Deployment]):
    account_name = serializers.CharField(source="account.name", read_only=True)

    class Meta:
        model = Deployment
        fields: ClassVar[list[str]] = [
            "id", "name", "source", "source_id", "account_id", "account_name", "sizing", "size",
            "allows_short", "is_active", "created_at",
        ]  # fmt: skip


class DeploymentChange(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80, required=False)
    sizing = serializers.ChoiceField(choices=Deployment.Sizing.choices, required=False)
    size = serializers.DecimalField(
        required=False,
        help_text="Units, quote currency, or a fraction of equity, as the sizing counts.",
        **QUANTITY,
    )
    allows_short = serializers.BooleanField(required=False)
    is_active = serializers.BooleanField(required=False)


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "Two percent of equity at risk to the alert's stop",
            value={
                "name": "Breakout on paper",
                "source_id": "0195f2d0-0000-7000-8000-000000000001",
                "account_id": "0195f2d0-0000-7000-8000-000000000002",
                "sizing": "risk",
                "size": "0.02",
            },
            request_only=True,
        )
    ]
)
class DeploymentIn(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80)
    source_id = serializers.UUIDField()
    account_id = serializers.UUIDField()
    sizing = serializers.ChoiceField(choices=Deployment.Sizing.choices, default="signal")
    size = serializers.DecimalField(default=Decimal(1), **QUANTITY)
    allows_short = serializers.BooleanField(default=True)

    def get_fields(self) -> dict[str, Any]:
        # Not as an attribute: that name is taken in a serializer.
        kind = serializers.ChoiceField(choices=Deployment.Source.choices, default="endpoint")
        return {**super().get_fields(), "source": kind}


class TakeProfitIn(serializers.Serializer[Any]):
    limit_price = serializers.DecimalField(**PRICE)


class StopLossIn(serializers.Serializer[Any]):
    stop_price = serializers.DecimalField(**PRICE)


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "Buy at the market",
            value={"symbol": "BTCUSD", "qty": "0.5", "side": "buy", "type": "market"},
            request_only=True,
        ),
        OpenApiExample(
            "A bracket",
            value={
                "symbol": "BTCUSD",
                "notional": "5000",
                "side": "buy",
                "type": "limit",
                "limit_price": "60000",
                "time_in_force": "gtc",
                "order_class": "bracket",
                "stop_loss": {"stop_price": "58000"},
                "take_profit": {"limit_price": "65000"},
                "client_order_id": "mine-1",
            },
            request_only=True,
        ),
    ]
)
class OrderIn(serializers.Serializer[Any]):
    """Alpaca's order, as far as the venues here can carry it out: good till canceled."""

    account_id = serializers.UUIDField(
        required=False, help_text="May be left out where there is one account."
    )
    symbol = serializers.CharField(max_length=64, help_text="BTCUSD or BINANCE:BTCUSD.")
    qty = serializers.DecimalField(required=False, min_value=Decimal("1e-8"), **QUANTITY)
    notional = serializers.DecimalField(
        required=False, max_digits=20, decimal_places=2, min_value=Decimal("0.01")
    )
    side = serializers.ChoiceField(choices=Order.Side.choices)
    type = serializers.ChoiceField(choices=Order.Kind.choices, default="market")
    time_in_force = serializers.ChoiceField(choices=["gtc"], default="gtc")
    limit_price = serializers.DecimalField(required=False, min_value=Decimal("1e-10"), **PRICE)
    stop_price = serializers.DecimalField(required=False, min_value=Decimal("1e-10"), **PRICE)
    order_class = serializers.ChoiceField(choices=["simple", "bracket", "oto"], default="simple")
    take_profit = TakeProfitIn(required=False)
    stop_loss = StopLossIn(required=False)
    client_order_id = serializers.CharField(max_length=48, required=False, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        wrong: dict[str, str] = {}
        if ("qty" in attrs) == ("notional" in attrs):
            wrong["qty"] = "Say either qty or notional."
        for name, kinds in (
            ("limit_price", ("limit", "stop_limit")),
            ("stop_price", ("stop", "stop_limit")),
        ):
            if (name in attrs) != (attrs["type"] in kinds):
                verb = "needs" if attrs["type"] in kinds else "has no"
                wrong[name] = f"A {attrs['type']} order {verb} {name}."
        legs = sum(name in attrs for name in ("take_profit", "stop_loss"))
        if legs != {"simple": 0, "oto": 1, "bracket": 2}[attrs["order_class"]]:
            wrong["order_class"] = (
                "simple has no legs, oto a take_profit or a stop_loss, bracket both."
            )
        if wrong:
            raise serializers.ValidationError(wrong)
        return attrs


class LegOut(serializers.ModelSerializer[Order]):
    symbol = serializers.CharField(source="instrument.symbol")
    qty = serializers.DecimalField(source="quantity", normalize_output=True, **QUANTITY)
    filled_qty = serializers.DecimalField(
        source="filled_quantity", normalize_output=True, **QUANTITY
    )
    filled_avg_price = serializers.DecimalField(source="average_price", allow_null=True, **PRICE)
    type = serializers.ChoiceField(source="kind", choices=Order.Kind.choices)
    time_in_force = serializers.SerializerMethodField()

    class Meta:
        model = Order
        fields: ClassVar[list[str]] = [
            "id", "client_order_id", "account_id", "deployment_id", "signal_id", "symbol", "qty",
            "filled_qty", "filled_avg_price", "side", "type", "time_in_force", "limit_price",
            "stop_price", "role", "reduce_only", "status", "status_code", "status_text",
            "decision_price", "created_at", "submitted_at", "accepted_at", "closed_at",
            "cancel_requested_at",
        ]  # fmt: skip

    @extend_schema_field(serializers.ChoiceField(choices=["gtc"]))
    def get_time_in_force(self, order: Order) -> str:
        return "gtc"


class OrderOut(LegOut):
    """An order; ``legs`` are the stop and target that wait behind it."""

    legs = serializers.SerializerMethodField()

    class Meta(LegOut.Meta):
        fields: ClassVar[list[str]] = [*LegOut.Meta.fields, "legs"]

    @extend_schema_field(LegOut(many=True))
    def get_legs(self, order: Order) -> list[dict[str, Any]]:
        known = self.context.get("legs", {})
        return [dict(LegOut(leg).data) for leg in known.get(order.pk, [])]


class PlacedOut(OrderOut):
    """The order as it was written, and what was decided: a limit may have reduced it."""

    outcome = serializers.SerializerMethodField()
    message = serializers.SerializerMethodField()

    class Meta(OrderOut.Meta):
        fields: ClassVar[list[str]] = [*OrderOut.Meta.fields, "outcome", "message"]

    @extend_schema_field(serializers.ChoiceField(choices=["accepted", "reduced"]))
    def get_outcome(self, order: Order) -> str:
        return str(self.context["outcome"])

    def get_message(self, order: Order) -> str:
        return str(self.context["message"])


class EventOut(serializers.ModelSerializer[Event]):
    """Something that happened; ``payload.text`` is the sentence a person reads."""

    class Meta:
        model = Event
        fields: ClassVar[list[str]] = ["sequence", "kind", "subject", "subject_id", "payload", "at"]


class OrderDetail(OrderOut):
    """An order with everything that happened to it, and the risk check it passed."""

    history = serializers.SerializerMethodField()

    class Meta(OrderOut.Meta):
        fields: ClassVar[list[str]] = [*OrderOut.Meta.fields, "risk", "history"]

    @extend_schema_field(EventOut(many=True))
    def get_history(self, order: Order) -> list[dict[str, Any]]:
        return [dict(EventOut(event).data) for event in self.context["history"]]


class FillOut(serializers.ModelSerializer[Fill]):
    symbol = serializers.CharField(source="instrument.symbol")
    client_order_id = serializers.CharField(source="order.client_order_id")
    qty = serializers.DecimalField(source="quantity", normalize_output=True, **QUANTITY)
    fee = serializers.DecimalField(**MONEY)
    realized = serializers.DecimalField(**MONEY)

    class Meta:
        model = Fill
        fields: ClassVar[list[str]] = [
            "id", "account_id", "order_id", "client_order_id", "trade_id", "symbol", "side", "qty",
            "price", "fee", "realized", "executed_at", "booked_at",
        ]  # fmt: skip


class PositionOut(serializers.ModelSerializer[Position]):
    """What is held of one instrument; ``qty`` is signed."""

    symbol = serializers.CharField(source="instrument.symbol")
    qty = serializers.DecimalField(source="quantity", normalize_output=True, **QUANTITY)
    side = serializers.SerializerMethodField()
    avg_entry_price = serializers.DecimalField(source="average_price", **PRICE)
    cost_basis = serializers.DecimalField(source="cost", **MONEY)
    current_price = serializers.SerializerMethodField()
    market_value = serializers.SerializerMethodField()
    unrealized_pl = serializers.SerializerMethodField()

    class Meta:
        model = Position
        fields: ClassVar[list[str]] = [
            "id", "account_id", "instrument_id", "symbol", "qty", "side", "avg_entry_price",
            "cost_basis", "current_price", "market_value", "unrealized_pl", "updated_at",
        ]  # fmt: skip

    @extend_schema_field(serializers.ChoiceField(choices=["long", "short"]))
    def get_side(self, position: Position) -> str:
        return "long" if position.quantity > 0 else "short"

    def get_current_price(self, position: Position) -> str | None:
        return _plain(_price(position))

    def get_market_value(self, position: Position) -> str | None:
        return _plain(_value(position))

    def get_unrealized_pl(self, position: Position) -> str | None:
        value = _value(position)
        return None if value is None else _plain(value - position.cost)


class TradeOut(serializers.ModelSerializer[Trade]):
    symbol = serializers.CharField(source="instrument.symbol")
    entry_quantity = serializers.DecimalField(normalize_output=True, **QUANTITY)
    exit_quantity = serializers.DecimalField(normalize_output=True, **QUANTITY)
    entry_value = serializers.DecimalField(**MONEY)
    exit_value = serializers.DecimalField(**MONEY)
    fees = serializers.DecimalField(**MONEY)
    profit = serializers.DecimalField(help_text="Net of fees, of what is closed so far.", **MONEY)

    class Meta:
        model = Trade
        fields: ClassVar[list[str]] = [
            "id", "account_id", "deployment_id", "symbol", "direction", "opened_at", "closed_at",
            "entry_quantity", "entry_value", "exit_quantity", "exit_value", "fees", "profit",
            "exit_role",
        ]  # fmt: skip


class HaltIn(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=200, default="Halted by a client.")
    flatten = serializers.BooleanField(default=False, help_text="Close all positions too.")


class HaltOut(serializers.ModelSerializer[TradingState]):
    class Meta:
        model = TradingState
        fields: ClassVar[list[str]] = ["is_halted", "halted_at", "reason", "flattens"]


def _price(position: Position) -> Decimal | None:
    quote = getattr(position.instrument, "quote", None)
    return None if quote is None else Decimal(quote.price)


def _value(position: Position) -> Decimal | None:
    price = _price(position)
    if price is None:
        return None
    return Decimal(position.quantity * price * position.instrument.point_value)


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else f"{value.normalize():f}"
