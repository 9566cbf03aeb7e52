"""Background doors into webhooks: decide nothing, call one service."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from apps.core.jobs import Job
from apps.webhooks import services


@shared_task(name=Job.FORGET_BODIES)
def forget_bodies(**_newer: object) -> None:
    services.forget_recent_bodies(before=timezone.now() - timedelta(days=1))
