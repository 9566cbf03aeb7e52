"""`manage.py import_bars`: a file's bars into the store, with a report of every finding."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.errors import DomainError, Invalid
from apps.core.tenancy import acting_across
from apps.marketdata import imports, services
from apps.marketdata.files import COLUMNS, Plan
from apps.marketdata.models import Instrument

FINDINGS = (
    ("rows", "rows read"),
    ("stored", "bars stored"),
    ("repeated", "already stored"),
    ("duplicates", "duplicate times"),
    ("unsorted", "out of order (sorted)"),
    ("bad_ticks", "impossible bars"),
    ("bad_times", "unreadable stamps"),
    ("conflicting", "contradict stored bars"),
    ("gaps", "gaps, any kind"),
    ("session_gaps", "gaps in market hours"),
    ("missing_bars", "bars missing in those"),
    ("outside_hours", "bars outside market hours"),
    ("suspects", "suspicious spikes (stored)"),
)


class Command(BaseCommand):
    help = "Store the bars of a CSV (also .gz) or Parquet file and report what was found in it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--symbol", required=True)
        parser.add_argument("--exchange", required=True)
        parser.add_argument("--interval", required=True, help="1m, 5m, 1h, 1d, ...")
        parser.add_argument("--timezone", default="UTC", help="of stamps that name none")
        parser.add_argument("--stamp", choices=["open", "close"], default="open")
        parser.add_argument(
            "--columns", nargs="+", default=[], metavar="OURS=THEIRS", help="such as time=ts"
        )
        parser.add_argument("--replace", action="store_true", help="overwrite what differs")
        parser.add_argument("--rejects", type=Path, help="CSV for the rows that were not stored")
        parser.add_argument("--json", action="store_true")
        new = parser.add_argument_group("a new instrument")
        new.add_argument("--create", action="store_true")
        new.add_argument("--asset-class", choices=Instrument.AssetClass.values)
        new.add_argument("--name", default="")
        new.add_argument("--currency", default="USD")
        new.add_argument("--tick-size", type=Decimal, default=Decimal("0.01"))
        new.add_argument("--lot-size", type=Decimal, default=Decimal(1))
        new.add_argument("--calendar", default="24/7", help="24/7, FX, XNYS, ...")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            plan = Plan(
                interval_s=services.interval_seconds(options["interval"]),
                timezone=options["timezone"],
                stamp=options["stamp"],
                columns=_columns(options["columns"]),
                replace=options["replace"],
            )
            report = imports.import_bars(
                options["file"],
                instrument=_instrument(options),
                plan=plan,
                rejects=options["rejects"],
            )
        except DomainError as refusal:
            raise CommandError(f"{refusal.message}. {refusal.hint}".strip()) from refusal
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json(), indent=2))
        else:
            self._tell(report)

    def _tell(self, report: imports.Report) -> None:
        for name, label in FINDINGS:
            self.stdout.write(f"{label:<28}{getattr(report, name):>12,}")
        self.stdout.write(f"{'first bar':<28}{report.first:>24}")
        self.stdout.write(f"{'last bar':<28}{report.last:>24}")
        for finding, examples in report.examples.items():
            meaning = imports.REASONS.get(finding, "")
            self.stdout.write(f"\n{finding.replace('_', ' ')}{': ' if meaning else ''}{meaning}")
            for example in examples:
                self.stdout.write(f"  {example}")


def _columns(given: list[str]) -> dict[str, str]:
    columns = {}
    for pair in given:
        ours, equals, theirs = pair.partition("=")
        if not equals or ours not in COLUMNS:
            raise Invalid(f"--columns {pair}: write {'|'.join(COLUMNS)}=NAME")
        columns[ours] = theirs
    return columns


def _instrument(options: dict[str, Any]) -> Instrument:
    symbol, exchange = options["symbol"].upper(), options["exchange"].upper()
    if not options["file"].is_file():
        raise Invalid(f"there is no file {options['file']}")
    with acting_across("import of bars"):
        found = Instrument.objects.filter(symbol=symbol, exchange=exchange).first()
        if found is not None:
            return found
        if not options["create"] or not options["asset_class"]:
            raise Invalid(
                f"there is no instrument {exchange}:{symbol}",
                hint="Make it with --create --asset-class ...",
            )
        wanted = ("asset_class", "name", "currency", "tick_size", "lot_size", "calendar")
        made, _ = services.list_instrument(
            symbol=symbol, exchange=exchange, **{name: options[name] for name in wanted}
        )
        return made
