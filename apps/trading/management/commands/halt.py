"""The operator's kill switch: needs the database and nothing else."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from apps.trading import switch


class Command(BaseCommand):
    help = "Halt trading for all tenants: no entry is sent from now on, open ones are canceled."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", required=True, help="what every tenant is told")
        parser.add_argument("--flatten", action="store_true", help="close all positions too")

    def handle(self, *args: Any, reason: str, flatten: bool, **options: Any) -> None:
        canceled, flattened = switch.halt_service(
            reason=reason, flatten=flatten, now=timezone.now()
        )
        self.stdout.write(
            f"Halted. {canceled} open entries are being canceled, {flattened} positions closed."
            " `manage.py resume` lifts it."
        )
