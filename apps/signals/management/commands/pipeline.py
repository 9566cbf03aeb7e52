"""The pipeline's process: decides on alerts as they are stored."""

from typing import Any

from django.core.management.base import BaseCommand

from apps.core.processes import Stop, run
from apps.signals import pipeline


class Command(BaseCommand):
    help = "Turn stored alerts into signals, decisions and orders until stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        run(pipeline.take, name="pipeline", channels=["pinelab_alerts"], stop=Stop().listen())
