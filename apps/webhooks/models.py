"""A user's endpoints, the alerts that arrived there, and the requests that were refused."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from apps.core.tenancy import TenantForeignKey, TenantModel


class Endpoint(TenantModel):
    """An address of a user's own; whoever knows its token may send alerts there."""

    name = models.CharField(max_length=80)
    # SHA-256 of the token, which is shown once and never stored.
    token_digest = models.BinaryField(max_length=32)
    # The token's last characters, to recognise an address by.
    token_hint = models.CharField(max_length=8)
    # After a rotation the old token works until the overlap ends.
    previous_token_digest = models.BinaryField(max_length=32, null=True)
    previous_token_until = models.DateTimeField(null=True)
    # Alerts that fired longer ago than this never increase exposure.
    max_age_s = models.PositiveIntegerField(
        default=60, validators=[MinValueValidator(5), MaxValueValidator(86_400)]
    )
    # Paused: alerts are kept and shown, and none is traded.
    is_paused = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            # With a condition, so that the column is no key to PostgreSQL: otherwise a rotation
            # would hold up the intake, whose rows refer to this one.
            models.UniqueConstraint(
                fields=["tenant", "token_digest"],
                condition=Q(deleted_at__isnull=True),
                name="endpoint_token_once",
            ),
            models.CheckConstraint(
                condition=Q(previous_token_digest__isnull=True, previous_token_until__isnull=True)
                | Q(previous_token_digest__isnull=False, previous_token_until__isnull=False),
                name="endpoint_overlap_has_an_end",
            ),
        ]
        indexes = [
            models.Index(fields=["token_digest"], name="endpoint_token"),
            models.Index(fields=["previous_token_digest"], name="endpoint_previous_token"),
        ]

    def __str__(self) -> str:
        return self.name


class Alert(TenantModel):
    """One message as received, byte for byte, with what became of it."""

    class Status(models.TextChoices):
        STORED = "stored", "Stored"
        DECIDED = "decided", "Decided"

    # Found by alert_by_endpoint: every index here is written for every alert.
    endpoint = TenantForeignKey(
        Endpoint, on_delete=models.PROTECT, related_name="alerts", db_index=False
    )
    body = models.BinaryField()
    content_type = models.CharField(max_length=100, blank=True)
    source_ip = models.GenericIPAddressField(null=True)
    received_at = models.DateTimeField(db_default=Now())
    # A person asked for this alert to be read again, after a fix.
    replay_of = TenantForeignKey(
        "self", on_delete=models.PROTECT, null=True, related_name="replays", db_index=False
    )
    status = models.CharField(max_length=8, choices=Status, db_default=Status.STORED)
    # What was wrong with the message (formats.MessageCode), empty when nothing was.
    message_code = models.CharField(max_length=32, blank=True, db_default="")
    decided_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["received_at"], name="alert_waiting", condition=Q(status="stored")
            ),
            models.Index(fields=["tenant", "endpoint", "-received_at"], name="alert_by_endpoint"),
            models.Index(
                fields=["replay_of"], name="alert_replays", condition=Q(replay_of__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"alert {self.pk}"


class RecentBody(TenantModel):
    """The last time an endpoint received these bytes: how a resend is told from a new alert.

    Two sends on parallel connections meet on the unique row, so one of them is the repeat.
    """

    # Plain identifiers: a row lives for minutes, and the intake writes one for each alert.
    endpoint_id = models.UUIDField()
    digest = models.BinaryField(max_length=32)
    alert_id = models.UUIDField()
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "endpoint_id", "digest"], name="one_recent_body"
            )
        ]
        indexes = [models.Index(fields=["at"], name="recent_body_age")]


class Repeat(TenantModel):
    """How often an alert's bytes came again within the resend window; never stored twice.

    A row of its own, and no foreign key: counting on the alert, or a key's check of it, would
    wait for the pipeline that is deciding it, and make the pipeline pass it over.
    """

    alert_id = models.UUIDField()
    count = models.PositiveIntegerField()
    last_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "alert_id"], name="one_repeat_row_per_alert")
        ]


class Refusal(TenantModel):
    """Requests that were answered with an error, counted by the minute and message code."""

    endpoint = TenantForeignKey(Endpoint, on_delete=models.CASCADE, related_name="refusals")
    minute = models.DateTimeField()
    code = models.CharField(max_length=32)
    # The HTTP status that was answered.
    status = models.PositiveSmallIntegerField()
    count = models.PositiveIntegerField(default=1)
    last_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "endpoint", "minute", "code"], name="one_refusal_row_a_minute"
            )
        ]
