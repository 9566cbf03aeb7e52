"""`manage.py feed`: the process that plays the running replays and compacts the hot tail."""

import signal
from threading import Event
from typing import Any

from django.core.management.base import BaseCommand

from apps.marketdata import replay, services


class Command(BaseCommand):
    help = "Play the running replays as a live feed until SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        self.stdout.write("feed: playing")
        self.stdout.flush()
        replay.run(stop, every_hour=lambda: services.compact(keep=services.HOT))
        self.stdout.write("feed: stopped")
