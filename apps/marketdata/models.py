"""What is traded and what was paid for it. Shared by all tenants, written by the feed alone."""

from decimal import Decimal

from django.db import models
from django.db.models import F, Q

from apps.core.ids import uuid7


class Instrument(models.Model):
    """What is traded: a symbol at an exchange, its steps, its hours and its usual costs."""

    written_by_ops_only = True

    class AssetClass(models.TextChoices):
        CRYPTO = "crypto", "Crypto"
        FOREX = "forex", "Forex"
        STOCK = "stock", "Stock"
        FUTURE = "future", "Future"
        INDEX = "index", "Index"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # Upper case, without separators: BTCUSD; a perpetual keeps its mark: BTCUSDT.P.
    symbol = models.CharField(max_length=32)
    exchange = models.CharField(max_length=32)
    name = models.CharField(max_length=120)
    asset_class = models.CharField(max_length=8, choices=AssetClass)
    # What a price is counted in.
    currency = models.CharField(max_length=8)
    tick_size = models.DecimalField(max_digits=20, decimal_places=10)
    # Smallest quantity and its step, in units of the instrument.
    lot_size = models.DecimalField(max_digits=20, decimal_places=10)
    # Currency per unit and per 1.0 of price: 1 for spot and stocks, 50 for an ES future.
    point_value = models.DecimalField(max_digits=20, decimal_places=10, default=Decimal(1))
    # A name of exchange_calendars (XNYS, 24/7), or FX for the foreign exchange week.
    calendar = models.CharField(max_length=16, default="24/7")
    # Fraction of traded value; and what a market order usually gives away.
    fee_rate = models.DecimalField(max_digits=8, decimal_places=6, default=Decimal(0))
    slippage_ticks = models.PositiveIntegerField(default=0)
    is_active = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["symbol", "exchange"], name="instrument_once"),
            models.CheckConstraint(
                condition=Q(symbol__regex=r"^[A-Z0-9][A-Z0-9._!]*$"), name="instrument_symbol_form"
            ),
            models.CheckConstraint(
                condition=Q(exchange__regex=r"^[A-Z0-9][A-Z0-9_]*$"),
                name="instrument_exchange_form",
            ),
            models.CheckConstraint(
                condition=Q(currency__regex=r"^[A-Z0-9]{2,8}$"), name="instrument_currency_form"
            ),
            models.CheckConstraint(condition=Q(tick_size__gt=0), name="instrument_tick_positive"),
            models.CheckConstraint(condition=Q(lot_size__gt=0), name="instrument_lot_positive"),
            models.CheckConstraint(
                condition=Q(point_value__gt=0), name="instrument_point_value_positive"
            ),
            models.CheckConstraint(
                condition=Q(fee_rate__gte=0) & Q(fee_rate__lt=1), name="instrument_fee_is_fraction"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.exchange}:{self.symbol}"


class Bar(models.Model):
    """One closed bar of the hot tail; compaction moves the older ones into the bar store."""

    written_by_ops_only = True

    instrument = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    interval_s = models.PositiveIntegerField()
    opened_at = models.DateTimeField()
    open = models.DecimalField(max_digits=20, decimal_places=10)
    high = models.DecimalField(max_digits=20, decimal_places=10)
    low = models.DecimalField(max_digits=20, decimal_places=10)
    close = models.DecimalField(max_digits=20, decimal_places=10)
    volume = models.DecimalField(max_digits=28, decimal_places=10, default=Decimal(0))

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["instrument", "interval_s", "opened_at"], name="bar_closed_once"
            ),
            models.CheckConstraint(condition=Q(interval_s__gt=0), name="bar_interval_positive"),
            models.CheckConstraint(
                condition=Q(open__lte=F("high"), close__lte=F("high"))
                & Q(open__gte=F("low"), close__gte=F("low")),
                name="bar_range_holds_its_prices",
            ),
            models.CheckConstraint(condition=Q(low__gt=0), name="bar_prices_positive"),
            models.CheckConstraint(condition=Q(volume__gte=0), name="bar_volume_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.instrument_id} {self.interval_s}s {self.opened_at:%Y-%m-%dT%H:%M:%SZ}"


class Quote(models.Model):
    """The newest price of an instrument and the bar it belongs to, as far as it has come."""

    written_by_ops_only = True

    instrument = models.OneToOneField(
        Instrument, on_delete=models.PROTECT, related_name="quote", primary_key=True
    )
    price = models.DecimalField(max_digits=20, decimal_places=10)
    # Market time of the last tick; and when we were told, by our own clock.
    at = models.DateTimeField()
    received_at = models.DateTimeField()
    interval_s = models.PositiveIntegerField()
    # The bar's open stands here, committed, before its first tick and before anyone is told.
    opened_at = models.DateTimeField()
    open = models.DecimalField(max_digits=20, decimal_places=10)
    high = models.DecimalField(max_digits=20, decimal_places=10)
    low = models.DecimalField(max_digits=20, decimal_places=10)
    volume = models.DecimalField(max_digits=28, decimal_places=10, default=Decimal(0))
    # False from the bar's close to the next one's open: then the bar is to be read as a Bar.
    is_forming = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(interval_s__gt=0), name="quote_interval_positive"),
            models.CheckConstraint(
                condition=Q(open__lte=F("high"), price__lte=F("high"))
                & Q(open__gte=F("low"), price__gte=F("low")),
                name="quote_range_holds_its_prices",
            ),
            models.CheckConstraint(condition=Q(at__gte=F("opened_at")), name="quote_after_open"),
            models.CheckConstraint(condition=Q(low__gt=0), name="quote_prices_positive"),
            models.CheckConstraint(condition=Q(volume__gte=0), name="quote_volume_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.instrument_id} {self.price} at {self.at:%Y-%m-%dT%H:%M:%SZ}"


class Replay(models.Model):
    """A market played back, or made up, as if it were live; it goes on where it stopped."""

    written_by_ops_only = True

    class Source(models.TextChoices):
        STORE = "store", "Stored bars"
        SYNTHETIC = "synthetic", "Synthetic market"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    instrument = models.OneToOneField(Instrument, on_delete=models.PROTECT, related_name="replay")
    source = models.CharField(max_length=9, choices=Source)
    interval_s = models.PositiveIntegerField(default=60)
    # Market seconds per second of the wall clock; 0 is as fast as it goes.
    speed = models.FloatField(default=60)
    # Market time of the first bar; of the bar that is next or forming; and its first step not
    # yet written (0 open, 1 and 2 ticks, 3 close).
    starts_at = models.DateTimeField()
    position = models.DateTimeField()
    step = models.PositiveSmallIntegerField(default=0)
    # Where prices are read from: another instrument's stored bars, or the made-up market's seed.
    origin = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    seed = models.PositiveBigIntegerField(default=0)
    is_running = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(interval_s__gt=0), name="replay_interval_positive"),
            models.CheckConstraint(condition=Q(speed__gte=0), name="replay_speed_not_negative"),
            models.CheckConstraint(
                condition=Q(position__gte=F("starts_at")), name="replay_goes_forward"
            ),
            models.CheckConstraint(condition=Q(step__lte=3), name="replay_four_steps_a_bar"),
            # Its own stored bars would show an instrument's readers what is still to come.
            models.CheckConstraint(
                condition=Q(source="synthetic", origin=None)
                | Q(source="store", origin__isnull=False) & ~Q(origin=F("instrument")),
                name="replay_of_another_instrument",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.instrument_id} from {self.source} at {self.position:%Y-%m-%dT%H:%M:%SZ}"
