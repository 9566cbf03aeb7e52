"""Background doors into the ground floor: decide nothing, call one service."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from apps.core import idempotency
from apps.core.jobs import Job


@shared_task(name=Job.FORGET_ANSWERS)
def forget_answers(**_newer: object) -> None:
    # **_newer: a worker one release behind must accept arguments it does not know yet.
    idempotency.forget(before=timezone.now() - timedelta(days=1))
