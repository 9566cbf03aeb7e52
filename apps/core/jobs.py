"""Every background job on one page: its name, its queue, and how it is asked for.

The row is the queue and Celery is the bell: a job that is lost loses nothing, because what it
works on waits in a table and the timetable rings again.
"""

from enum import StrEnum
from typing import Any

from celery import current_app
from django.db import transaction


class Job(StrEnum):
    FORGET_ANSWERS = "core.forget_answers"
    FORGET_BODIES = "webhooks.forget_bodies"
    FORGET_INTENTS = "signals.forget_intents"


QUEUES = {
    Job.FORGET_ANSWERS: "cpu",
    Job.FORGET_BODIES: "cpu",
    Job.FORGET_INTENTS: "cpu",
}


def enqueue(job: Job, **arguments: Any) -> None:
    """Ring for a job once the open transaction has committed; arguments are ids only."""
    transaction.on_commit(
        lambda: current_app.send_task(job.value, kwargs=arguments, queue=QUEUES[job]), robust=True
    )
