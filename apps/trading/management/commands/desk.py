"""The desk's process: sends orders, learns what became of them, books the fills."""

import time
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from apps.core.processes import Stop, run
from apps.marketdata.feed import CHANNEL as BARS
from apps.trading import desk
from apps.trading.placing import CHANNEL as ORDERS

RECONCILE_EVERY_S = 2.0
MARK_EVERY_S = 10.0
POLL_EVERY_S = 10.0


class Command(BaseCommand):
    help = "Send orders and book fills until stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        reconcile = Every(RECONCILE_EVERY_S)
        mark = Every(MARK_EVERY_S)
        poll = Every(POLL_EVERY_S)
        has_begun = False

        def work() -> int:
            nonlocal has_begun
            now = timezone.now()
            if not has_begun:
                desk.begin(now=now)
                has_begun = True
            if reconcile.is_due():
                desk.reconcile(now=now)
            if poll.is_due():
                desk.poll(now=now)
            if mark.is_due():
                desk.mark_open_accounts(now=now)
            return desk.work(now=now)

        run(work, name="desk", channels=[ORDERS, BARS], stop=Stop().listen())


class Every:
    """True once in so many seconds; counted by the clock that never goes back."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.last = float("-inf")

    def is_due(self) -> bool:
        now = time.monotonic()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True
