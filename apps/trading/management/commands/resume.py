"""Lifts the operator's halt."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from apps.trading import switch


class Command(BaseCommand):
    help = "Let all tenants trade again; tenants and accounts that are halted themselves stay so."

    def handle(self, *args: Any, **options: Any) -> None:
        switch.resume_service(now=timezone.now())
        self.stdout.write("Trading resumed.")
