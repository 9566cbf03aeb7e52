"""The event log, its readers' places in it, and answers kept for repeated requests."""

from django.db import models
from django.db.models import Q

from apps.core.tenancy import TenantModel


class EventHead(TenantModel):
    """The last sequence number of a tenant's log; its lock puts the appends in line."""

    sequence = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant"], name="one_event_head")]


class Event(TenantModel):
    """Something that happened, appended in the transaction in which it did."""

    append_only = True

    # Counts from 1 without a gap, in the order of commit.
    sequence = models.BigIntegerField()
    kind = models.CharField(max_length=48)
    subject = models.CharField(max_length=24)
    subject_id = models.UUIDField()
    payload = models.JSONField(default=dict)
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "sequence"], name="event_sequence_once"),
            models.CheckConstraint(condition=Q(sequence__gt=0), name="event_sequence_from_one"),
        ]
        indexes = [models.Index(fields=["tenant", "subject_id", "sequence"], name="event_subject")]

    def __str__(self) -> str:
        return f"{self.sequence} {self.kind}"


class EventCursor(TenantModel):
    """How far one consumer has read a tenant's events."""

    consumer = models.CharField(max_length=48)
    sequence = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "consumer"], name="one_cursor_per_consumer")
        ]


class KeptAnswer(TenantModel):
    """The answer to a POST that named an Idempotency-Key, given again when it is repeated."""

    key = models.CharField(max_length=128)
    # SHA-256 of method, path and body: the same key for another request is refused.
    fingerprint = models.BinaryField(max_length=32)
    status = models.PositiveSmallIntegerField()
    body = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "key"], name="one_answer_per_key")]
        indexes = [models.Index(fields=["created_at"], name="kept_answer_age")]
