"""Background doors into signals: decide nothing, call one service."""

from celery import shared_task
from django.utils import timezone

from apps.core.jobs import Job
from apps.core.tenancy import acting_across
from apps.signals import freshness


@shared_task(name=Job.FORGET_INTENTS)
def forget_intents(**_newer: object) -> None:
    with acting_across("housekeeping: seen intents"):
        freshness.forget(before=timezone.now() - freshness.MEMORY)
