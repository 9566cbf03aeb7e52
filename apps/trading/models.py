"""Broker accounts, what they were told to do, and what the market answered."""

from decimal import Decimal
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from apps.core.tenancy import TenantForeignKey, TenantModel

ZERO = Decimal(0)


def quantity_field(**options: Any) -> "models.DecimalField[Any, Any]":
    """Units of the base asset. Eight places: with a price's ten, a value is exact in eighteen."""
    return models.DecimalField(max_digits=24, decimal_places=8, **options)


def price_field(**options: Any) -> "models.DecimalField[Any, Any]":
    """Quote currency per unit."""
    return models.DecimalField(max_digits=20, decimal_places=10, **options)


def money_field(**options: Any) -> "models.DecimalField[Any, Any]":
    """Quote currency, exact: the product of any quantity and any price fits without rounding."""
    return models.DecimalField(max_digits=38, decimal_places=18, **options)


def rate_field(**options: Any) -> "models.DecimalField[Any, Any]":
    """A fraction: 0.02 is two percent."""
    return models.DecimalField(
        max_digits=9,
        decimal_places=6,
        validators=[MinValueValidator(ZERO), MaxValueValidator(Decimal(100))],
        **options,
    )


class TradingState(TenantModel):
    """The tenant's kill switch.

    Its row is share-locked by every claim of an order, so once a halt has committed no order is
    claimed any more.
    """

    is_halted = models.BooleanField(default=False)
    halted_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=200, blank=True)
    # What the halt also asked for: close what is open.
    flattens = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant"], name="one_trading_state")]


class ServiceState(models.Model):
    """The operator's kill switch over all tenants; one row."""

    written_by_ops_only = True

    id = models.SmallIntegerField(primary_key=True, default=1)
    is_halted = models.BooleanField(default=False)
    reason = models.CharField(max_length=200, blank=True)
    halted_at = models.DateTimeField(null=True)
    flattens = models.BooleanField(default=False)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_service_state")]

    def __str__(self) -> str:
        return "halted" if self.is_halted else "running"


class BrokerAccount(TenantModel):
    """Money at a broker; what deployments trade with."""

    class Broker(models.TextChoices):
        PAPER = "paper", "Paper"

    class Mode(models.TextChoices):
        PAPER = "paper", "Paper"
        LIVE = "live", "Live"

    class State(models.TextChoices):
        ACTIVE = "active", "Active"
        # Entries wait until orders of unknown fate are resolved and positions equal the venue's.
        RECONCILING = "reconciling", "Reconciling"
        HALTED = "halted", "Halted"

    name = models.CharField(max_length=80)
    broker = models.CharField(max_length=12, choices=Broker, default=Broker.PAPER)
    mode = models.CharField(max_length=5, choices=Mode, default=Mode.PAPER)
    currency = models.CharField(max_length=8, default="USD")
    starting_cash = money_field(validators=[MinValueValidator(Decimal(1))])
    cash = money_field()
    state = models.CharField(max_length=12, choices=State, default=State.ACTIVE)
    # What its halt also asked for: close what is open.
    flattens = models.BooleanField(default=False)
    # Where the broker holds something else than we have booked, by instrument: both quantities
    # as text. Entries wait until it is gone, or a person accepts what the broker holds.
    differences = models.JSONField(default=dict)
    # How far the broker's own sequence of executions has been booked.
    execution_cursor = models.BigIntegerField(default=0)
    # The UTC day that orders were last decided on, and the equity it began with.
    day_on = models.DateField(null=True)
    day_equity = money_field(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="account_name_once"),
            models.CheckConstraint(
                condition=~Q(broker="paper") | Q(mode="paper"), name="paper_is_never_live"
            ),
            models.CheckConstraint(
                condition=Q(starting_cash__gt=0), name="account_starts_with_cash"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class RiskLimits(TenantModel):
    """What an account may never exceed; null means no limit."""

    account = TenantForeignKey(BrokerAccount, on_delete=models.CASCADE, related_name="+")
    # Quote currency, of one order and of all orders of a UTC day.
    max_order_notional = money_field(null=True, default=Decimal(100_000))
    max_daily_notional = money_field(null=True, default=None)
    # Quote currency, |position| at the last price, per instrument.
    max_position_notional = money_field(null=True, default=Decimal(100_000))
    # Units, of one order.
    max_order_quantity = quantity_field(null=True, default=None)
    max_open_positions = models.PositiveIntegerField(null=True, default=20)
    max_orders_per_minute = models.PositiveIntegerField(null=True, default=60)
    # How far an order's price may lie from the last price, as a fraction of it.
    price_band = rate_field(null=True, default=Decimal("0.1"))
    # Gross value of all positions, as a multiple of equity.
    max_leverage = rate_field(null=True, default=Decimal(2))
    # Same instrument, side and quantity again within so many seconds is a duplicate; 0: never.
    duplicate_window_s = models.PositiveIntegerField(default=0)
    # Of the day's first equity; entries stop when the day's loss has reached it.
    max_daily_loss = rate_field(null=True, default=Decimal("0.05"))
    # Empty: every instrument.
    allowed_instruments = ArrayField(models.UUIDField(), default=list, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "account"], name="one_limits_per_account")
        ]


class Deployment(TenantModel):
    """Where a source's signals go: the account, the sizing, what is allowed."""

    class Source(models.TextChoices):
        ENDPOINT = "endpoint", "Webhook endpoint"

    class Sizing(models.TextChoices):
        SIGNAL = "signal", "As the signal says"
        FIXED = "fixed", "Fixed quantity"
        CASH = "cash", "Fixed amount"
        EQUITY = "equity", "Fraction of equity"
        RISK = "risk", "Fraction of equity at risk to the stop"

    name = models.CharField(max_length=80)
    source = models.CharField(max_length=12, choices=Source, default=Source.ENDPOINT)
    # The endpoint: a room on the same floor, so a name and not a reference.
    source_id = models.UUIDField()
    account = TenantForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="deployments")
    sizing = models.CharField(max_length=8, choices=Sizing, default=Sizing.SIGNAL)
    # What ``sizing`` counts: units, quote currency, or a fraction of equity. Also used when a
    # signal that should say its quantity does not.
    size = models.DecimalField(max_digits=24, decimal_places=8, default=Decimal(1))
    allows_short = models.BooleanField(default=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)
    # Its orders and decisions keep naming it; it takes no more signals and is listed no more.
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "source", "source_id", "account"],
                name="deployed_once",
                condition=Q(ended_at__isnull=True),
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(is_active=False), name="ended_is_inactive"
            ),
            models.CheckConstraint(condition=Q(size__gt=0), name="deployment_size_positive"),
        ]

    def __str__(self) -> str:
        return self.name


class Order(TenantModel):
    """One instruction to a broker: buy or sell this much, at this price or better."""

    class Side(models.TextChoices):
        BUY = "buy", "Buy"
        SELL = "sell", "Sell"

    class Kind(models.TextChoices):
        MARKET = "market", "Market"
        LIMIT = "limit", "Limit"
        STOP = "stop", "Stop"
        STOP_LIMIT = "stop_limit", "Stop limit"

    class Role(models.TextChoices):
        ENTRY = "entry", "Entry"
        EXIT = "exit", "Exit"
        STOP = "stop", "Stop"
        TARGET = "target", "Target"
        FLATTEN = "flatten", "Flatten"
        # Never sent: it books what the broker held and we did not know of.
        ADJUST = "adjust", "Accepted from the broker"

    class Status(models.TextChoices):
        NEW = "new", "New"
        SUBMITTING = "submitting", "Submitting"
        ACCEPTED = "accepted", "Accepted"
        PARTIALLY_FILLED = "partially_filled", "Partially filled"
        FILLED = "filled", "Filled"
        CANCELED = "canceled", "Canceled"
        EXPIRED = "expired", "Expired"
        REJECTED = "rejected", "Rejected"
        # Our own last look before sending said no.
        DENIED = "denied", "Denied"
        # Sent, and we do not know what became of it; stays so until the venue says.
        UNKNOWN = "unknown", "Unknown"

    # A function of the signal and the leg, so a submission that is retried stays the same order.
    client_order_id = models.CharField(max_length=48)
    account = TenantForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="orders")
    deployment = TenantForeignKey(
        Deployment, on_delete=models.PROTECT, null=True, related_name="orders"
    )
    instrument = models.ForeignKey(
        "marketdata.Instrument", on_delete=models.PROTECT, related_name="+"
    )
    # The signal it carries out: a room above, so a name and not a reference. Null when a person
    # or the kill switch asked for it.
    signal_id = models.UUIDField(null=True)
    role = models.CharField(max_length=8, choices=Role, default=Role.ENTRY)
    # A bracket's entry; its children wait at the venue until it has filled.
    parent = TenantForeignKey("self", on_delete=models.PROTECT, null=True, related_name="children")
    side = models.CharField(max_length=4, choices=Side)
    kind = models.CharField(max_length=10, choices=Kind)
    quantity = quantity_field()
    limit_price = price_field(null=True)
    stop_price = price_field(null=True)
    reduce_only = models.BooleanField(default=False)
    status = models.CharField(max_length=16, choices=Status, default=Status.NEW)
    # Why it is where it is: a stable code and a sentence, empty when there is nothing to say.
    status_code = models.CharField(max_length=32, blank=True)
    status_text = models.CharField(max_length=300, blank=True)
    filled_quantity = quantity_field(default=ZERO)
    # Sum of quantity · price over the fills; divided by the quantity it is the average price.
    filled_value = money_field(default=ZERO)
    # The risk check that passed in the transaction that wrote this order: every limit with what
    # was measured. No order without one.
    risk = models.JSONField()
    # The last price known when it was decided; what slippage is measured against.
    decision_price = price_field(null=True)
    created_at = models.DateTimeField()
    submitted_at = models.DateTimeField(null=True)
    sends = models.PositiveSmallIntegerField(default=0)
    accepted_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    venue_order_id = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "client_order_id"], name="order_submitted_once"
            ),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="order_quantity_positive"),
            models.CheckConstraint(
                condition=Q(filled_quantity__range=(0, F("quantity"))), name="order_not_overfilled"
            ),
            models.CheckConstraint(
                condition=Q(limit_price__isnull=False, kind__in=["limit", "stop_limit"])
                | Q(limit_price__isnull=True, kind__in=["market", "stop"]),
                name="order_limit_price_iff_limit",
            ),
            models.CheckConstraint(
                condition=Q(stop_price__isnull=False, kind__in=["stop", "stop_limit"])
                | Q(stop_price__isnull=True, kind__in=["market", "limit"]),
                name="order_stop_price_iff_stop",
            ),
            models.CheckConstraint(condition=Q(side__in=["buy", "sell"]), name="order_side_known"),
            models.CheckConstraint(
                condition=Q(
                    status__in=[
                        "new",
                        "submitting",
                        "accepted",
                        "partially_filled",
                        "filled",
                        "canceled",
                        "expired",
                        "rejected",
                        "denied",
                        "unknown",
                    ]
                ),
                name="order_status_known",
            ),
            models.CheckConstraint(
                condition=Q(risk__contains={"passed": True}), name="order_passed_risk"
            ),
            models.CheckConstraint(
                condition=Q(limit_price__isnull=True) | Q(limit_price__gt=0),
                name="order_limit_price_positive",
            ),
            models.CheckConstraint(
                condition=Q(stop_price__isnull=True) | Q(stop_price__gt=0),
                name="order_stop_price_positive",
            ),
        ]
        indexes = [
            models.Index(fields=["created_at"], name="order_to_send", condition=Q(status="new")),
            models.Index(
                fields=["submitted_at"],
                name="order_in_doubt",
                condition=Q(status__in=["submitting", "unknown"]),
            ),
            models.Index(
                fields=["account", "instrument"],
                name="order_open",
                condition=Q(
                    status__in=["new", "submitting", "accepted", "partially_filled", "unknown"]
                ),
            ),
            models.Index(
                fields=["cancel_requested_at"],
                name="order_to_cancel",
                condition=Q(
                    cancel_requested_at__isnull=False,
                    status__in=["new", "accepted", "partially_filled"],
                ),
            ),
            models.Index(fields=["tenant", "-created_at"], name="order_recent"),
            models.Index(fields=["account", "-created_at"], name="order_of_account"),
            models.Index(fields=["tenant", "signal_id"], name="order_signal"),
        ]

    OPEN = ("new", "submitting", "accepted", "partially_filled", "unknown")

    def __str__(self) -> str:
        return f"{self.side} {self.quantity} ({self.status})"

    @property
    def remaining_quantity(self) -> Decimal:
        return Decimal(self.quantity - self.filled_quantity)

    @property
    def is_open(self) -> bool:
        return self.status in self.OPEN

    @property
    def average_price(self) -> Decimal | None:
        return self.filled_value / self.filled_quantity if self.filled_quantity else None


class Position(TenantModel):
    """What an account holds of one instrument, at what cost."""

    account = TenantForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="positions")
    instrument = models.ForeignKey(
        "marketdata.Instrument", on_delete=models.PROTECT, related_name="+"
    )
    # Signed: negative is short.
    quantity = quantity_field(default=ZERO)
    # Signed cash paid for what is held: quantity · average entry price, exact.
    cost = money_field(default=ZERO)
    # Gross profit of everything closed so far, and all fees, since the account began.
    realized = money_field(default=ZERO)
    fees = money_field(default=ZERO)
    updated_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "account", "instrument"], name="one_position_per_instrument"
            ),
            models.CheckConstraint(
                condition=~Q(quantity=0) | Q(cost=0), name="flat_position_costs_nothing"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity}"

    @property
    def average_price(self) -> Decimal | None:
        """Quote currency per unit and 1.0 of price, as prices are quoted."""
        if not self.quantity:
            return None
        return Decimal(self.cost / self.quantity / self.instrument.point_value)


class Trade(TenantModel):
    """A position from flat to flat, with its profit net of costs."""

    class Direction(models.TextChoices):
        LONG = "long", "Long"
        SHORT = "short", "Short"

    account = TenantForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="trades")
    instrument = models.ForeignKey(
        "marketdata.Instrument", on_delete=models.PROTECT, related_name="+"
    )
    deployment = TenantForeignKey(
        Deployment, on_delete=models.PROTECT, null=True, related_name="trades"
    )
    direction = models.CharField(max_length=5, choices=Direction)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    entry_quantity = quantity_field(default=ZERO)
    entry_value = money_field(default=ZERO)
    exit_quantity = quantity_field(default=ZERO)
    exit_value = money_field(default=ZERO)
    fees = money_field(default=ZERO)
    # Quote currency, net of fees; of what is closed so far.
    profit = money_field(default=ZERO)
    exit_role = models.CharField(max_length=8, choices=Order.Role, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "account", "instrument"],
                name="one_open_trade",
                condition=Q(closed_at__isnull=True),
            ),
            models.CheckConstraint(
                condition=Q(exit_quantity__lte=F("entry_quantity")), name="trade_not_overclosed"
            ),
        ]
        indexes = [models.Index(fields=["tenant", "-opened_at"], name="trade_recent")]

    def __str__(self) -> str:
        return f"{self.direction} {self.entry_quantity}"


class Fill(TenantModel):
    """One execution of an order, booked once."""

    append_only = True

    order = TenantForeignKey(Order, on_delete=models.PROTECT, related_name="fills")
    account = TenantForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="fills")
    instrument = models.ForeignKey(
        "marketdata.Instrument", on_delete=models.PROTECT, related_name="+"
    )
    trade = TenantForeignKey(Trade, on_delete=models.PROTECT, related_name="fills")
    # The broker's own name of the execution.
    execution_id = models.CharField(max_length=64)
    side = models.CharField(max_length=4, choices=Order.Side)
    quantity = quantity_field()
    price = price_field()
    # Quote currency, positive when paid.
    fee = money_field()
    # Gross profit that this fill realised.
    realized = money_field(default=ZERO)
    # Market time; ``booked_at`` is ours.
    executed_at = models.DateTimeField()
    booked_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "account", "execution_id"], name="execution_booked_once"
            ),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="fill_quantity_positive"),
            models.CheckConstraint(condition=Q(price__gt=0), name="fill_price_positive"),
        ]
        indexes = [models.Index(fields=["tenant", "account", "-executed_at"], name="fill_recent")]

    def __str__(self) -> str:
        return f"{self.side} {self.quantity} at {self.price}"


class EquityPoint(TenantModel):
    """An account's worth at one moment of the market."""

    append_only = True

    account = TenantForeignKey(BrokerAccount, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField()
    cash = money_field()
    # Cash plus open positions at the last price, quote currency.
    equity = money_field()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "account", "at"], name="one_equity_point")
        ]


class PaperOrder(TenantModel):
    """An order as the paper venue sees it. The desk knows it only through the broker's adapter."""

    class Status(models.TextChoices):
        WORKING = "working", "Working"
        ASLEEP = "asleep", "Waiting for its entry"
        FILLED = "filled", "Filled"
        CANCELED = "canceled", "Canceled"

    account = TenantForeignKey(BrokerAccount, on_delete=models.CASCADE, related_name="+")
    client_order_id = models.CharField(max_length=48)
    instrument = models.ForeignKey(
        "marketdata.Instrument", on_delete=models.PROTECT, related_name="+"
    )
    parent = TenantForeignKey("self", on_delete=models.CASCADE, null=True, related_name="+")
    # Orders of one group: the first fill cancels the rest.
    group = models.UUIDField(null=True)
    side = models.CharField(max_length=4, choices=Order.Side)
    kind = models.CharField(max_length=10, choices=Order.Kind)
    # Of a child it shrinks to what its entry has filled; the order at our side keeps its terms.
    quantity = quantity_field()
    # Less than ``quantity`` when the order only reduced and there was less to reduce.
    filled_quantity = quantity_field(default=ZERO)
    limit_price = price_field(null=True)
    stop_price = price_field(null=True)
    reduce_only = models.BooleanField(default=False)
    is_triggered = models.BooleanField(default=False)
    status = models.CharField(max_length=8, choices=Status)
    reason = models.CharField(max_length=32, blank=True)
    # Open time of the bar that was forming when it arrived; it acts from the next one.
    arrived_in = models.DateTimeField()
    # Its place in the order of arrivals in its instrument.
    age = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "account", "client_order_id"], name="paper_order_once"
            )
        ]
        indexes = [
            models.Index(
                fields=["instrument"],
                name="paper_order_open",
                condition=Q(status__in=["working", "asleep"]),
            )
        ]


class PaperExecution(TenantModel):
    """A fill at the paper venue; ``sequence`` is the venue's own, per account."""

    append_only = True

    account = TenantForeignKey(BrokerAccount, on_delete=models.CASCADE, related_name="+")
    sequence = models.BigIntegerField()
    client_order_id = models.CharField(max_length=48)
    instrument = models.ForeignKey(
        "marketdata.Instrument", on_delete=models.PROTECT, related_name="+"
    )
    side = models.CharField(max_length=4, choices=Order.Side)
    quantity = quantity_field()
    price = price_field()
    fee = money_field()
    executed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "account", "sequence"], name="paper_execution_sequence"
            )
        ]


class PaperBook(TenantModel):
    """An account at the paper venue, and the number of its last execution."""

    account = TenantForeignKey(BrokerAccount, on_delete=models.CASCADE, related_name="+")
    sequence = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "account"], name="one_paper_book")]


class PaperHolding(TenantModel):
    """What the paper venue holds for an account."""

    account = TenantForeignKey(BrokerAccount, on_delete=models.CASCADE, related_name="+")
    instrument = models.ForeignKey(
        "marketdata.Instrument", on_delete=models.PROTECT, related_name="+"
    )
    quantity = quantity_field(default=ZERO)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "account", "instrument"], name="one_paper_holding"
            )
        ]


class PaperClock(models.Model):
    """How far the paper venue has carried its books through an instrument's bars."""

    written_by_ops_only = True

    instrument = models.OneToOneField(
        "marketdata.Instrument", on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    # Open time of the last bar that was stepped, and whether it was stepped to its close.
    opened_at = models.DateTimeField()
    is_closed = models.BooleanField()
    # Orders that have arrived so far.
    arrivals = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.instrument_id} at {self.opened_at:%Y-%m-%dT%H:%M:%SZ}"
