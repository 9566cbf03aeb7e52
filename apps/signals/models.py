"""A trading intention, and what was done with it."""

from django.db import models
from django.db.models import Q

from apps.core.tenancy import TenantForeignKey, TenantModel


class Signal(TenantModel):
    """An instrument, a side, a size hint, prices, a source and a time."""

    class Action(models.TextChoices):
        BUY = "buy", "Buy"
        SELL = "sell", "Sell"
        CLOSE = "close", "Close"
        CLOSE_LONG = "close_long", "Close long"
        CLOSE_SHORT = "close_short", "Close short"
        CANCEL = "cancel", "Cancel orders"
        ADD = "add", "Add"

    alert = TenantForeignKey("webhooks.Alert", on_delete=models.PROTECT, related_name="signals")
    instrument = models.ForeignKey(
        "marketdata.Instrument", on_delete=models.PROTECT, null=True, related_name="+"
    )
    # As the message wrote it; the instrument is what it was understood to be.
    ticker = models.CharField(max_length=64)
    action = models.CharField(max_length=12, choices=Action)
    # Units of the base asset, when the message said.
    quantity = models.DecimalField(max_digits=24, decimal_places=8, null=True)
    price = models.DecimalField(max_digits=20, decimal_places=10, null=True)
    stop_loss = models.DecimalField(max_digits=20, decimal_places=10, null=True)
    take_profit = models.DecimalField(max_digits=20, decimal_places=10, null=True)
    strategy = models.CharField(max_length=120, blank=True)
    timeframe = models.CharField(max_length=16, blank=True)
    # When the sender says it fired; the order of these, not of arrival, decides what is stale.
    fired_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    # What the message said beside the above, as read.
    reading = models.JSONField(default=dict)
    # Features of the last closed bar when it was decided, by name.
    features = models.JSONField(default=dict)
    # A calibrated probability, or null: not scored.
    score = models.FloatField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(score__isnull=True) | Q(score__range=(0.0, 1.0)),
                name="score_is_a_probability",
            )
        ]
        indexes = [models.Index(fields=["tenant", "-created_at"], name="signal_recent")]

    def __str__(self) -> str:
        return f"{self.action} {self.ticker}"


class Decision(TenantModel):
    """What was done with an alert: exactly one for each deployment it reached, or one for none."""

    append_only = True

    class Outcome(models.TextChoices):
        ACCEPTED = "accepted", "Accepted"
        REDUCED = "reduced", "Reduced"
        REJECTED = "rejected", "Rejected"
        DUPLICATE = "duplicate", "Duplicate"

    alert = TenantForeignKey("webhooks.Alert", on_delete=models.PROTECT, related_name="decisions")
    # Null when the message could not be read as a signal.
    signal = TenantForeignKey(Signal, on_delete=models.PROTECT, null=True, related_name="decisions")
    deployment = TenantForeignKey(
        "trading.Deployment", on_delete=models.PROTECT, null=True, related_name="+"
    )
    outcome = models.CharField(max_length=10, choices=Outcome)
    # A stable code and the sentence a person reads, with the figures in it.
    code = models.CharField(max_length=32)
    text = models.CharField(max_length=400)
    decided_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "alert", "deployment"],
                name="one_decision_per_alert",
                nulls_distinct=False,
            )
        ]
        indexes = [models.Index(fields=["tenant", "-decided_at"], name="decision_recent")]

    def __str__(self) -> str:
        return f"{self.outcome}: {self.code}"


class StreamHead(TenantModel):
    """The newest signal acted on per endpoint, strategy and instrument: what is older is stale."""

    endpoint = TenantForeignKey("webhooks.Endpoint", on_delete=models.CASCADE, related_name="+")
    strategy = models.CharField(max_length=120, blank=True)
    instrument = models.ForeignKey(
        "marketdata.Instrument", on_delete=models.CASCADE, related_name="+"
    )
    fired_at = models.DateTimeField()
    signal_id = models.UUIDField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "endpoint", "strategy", "instrument"], name="one_stream_head"
            )
        ]


class SeenIntent(TenantModel):
    """The meaning of a signal already acted on: the same one in other bytes is a duplicate."""

    endpoint = TenantForeignKey("webhooks.Endpoint", on_delete=models.CASCADE, related_name="+")
    # SHA-256 over strategy, order id, bar time, action and position, or the sender's own id.
    digest = models.BinaryField(max_length=32)
    signal_id = models.UUIDField()
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "endpoint", "digest"], name="one_seen_intent")
        ]
        indexes = [models.Index(fields=["at"], name="seen_intent_age")]
