"""Background work: the Celery application, its queues and its timetable."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pinelab.settings")

app = Celery("pinelab")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
