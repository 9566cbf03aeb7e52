"""`manage.py bars`: what is stored; `--verify` reads it all, `--compact DAYS` moves the tail in."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Count, Max, Min

from apps.marketdata import services, store
from apps.marketdata.models import Bar, Instrument
from apps.marketdata.sessions import to_datetime


class Command(BaseCommand):
    help = "List the bars that are stored: instrument, interval, first, last, rows."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--verify", action="store_true", help="compare with the checksums")
        parser.add_argument(
            "--compact", type=float, metavar="DAYS", help="move older bars into the store first"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["compact"] is not None:
            for done in services.compact(keep=timedelta(days=options["compact"])):
                self.stdout.write(
                    f"{done.instrument_id} {done.interval_s}s: {done.moved} bars moved,"
                    f" {done.conflicting} contradict the store and stay"
                )
        names = {row.pk: str(row) for row in Instrument.objects.all()}
        self.stdout.write(self._line("instrument", "interval", "where", "first", "last", "rows"))
        for held in store.contents():
            self._tell(
                names.get(held.instrument_id, str(held.instrument_id)),
                held.interval_s,
                "store",
                to_datetime(held.first),
                to_datetime(held.last),
                held.rows,
            )
            if options["verify"]:
                self._verify(held)
        for row in self._tails():
            self._tell(
                names[row["instrument_id"]],
                row["interval_s"],
                "tail",
                row["first"],
                row["last"],
                row["rows"],
            )

    def _tails(self) -> Any:
        return (
            Bar.objects.values("instrument_id", "interval_s")
            .annotate(first=Min("opened_at"), last=Max("opened_at"), rows=Count("pk"))
            .order_by("instrument_id", "interval_s")
        )

    def _tell(
        self, name: str, interval_s: int, where: str, first: Any, last: Any, rows: int
    ) -> None:
        ends = (f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in (first, last))
        self.stdout.write(self._line(name, f"{interval_s}s", where, *ends, f"{rows:,}"))

    def _verify(self, held: store.Held) -> None:
        try:
            store.verify(held.instrument_id, held.interval_s)
        except store.StoreDamaged as damage:
            raise CommandError(damage.message) from damage

    @staticmethod
    def _line(*cells: str) -> str:
        return "{:<28}{:>9}  {:<6}{:>21}{:>22}{:>14}".format(*cells)
