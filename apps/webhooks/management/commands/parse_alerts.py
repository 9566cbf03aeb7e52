"""Read alert bodies from a file and print what PineLab understands: no server, no database."""

import base64
import binascii
import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.webhooks.formats import ParsedAlert, parse


class BadLine(ValueError):
    """A line of the input does not hold an id and a body."""


class Command(BaseCommand):
    help = "Print one JSON line for each alert body of a file of JSON lines (id, body or body_b64)."
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="file of JSON lines; - reads standard input")

    def handle(self, *args: Any, **options: Any) -> None:
        bad_lines = 0
        with _opened(options["file"]) as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    identity, body = _body_of(line)
                except BadLine as fault:
                    self.stderr.write(f"line {number}: {fault}")
                    bad_lines += 1
                    continue
                self.stdout.write(_as_json(identity, parse(body)))
        if bad_lines:
            raise SystemExit(1)


def _opened(name: str) -> Any:
    if name == "-":
        return nullcontext(sys.stdin.buffer if hasattr(sys.stdin, "buffer") else sys.stdin)
    try:
        return Path(name).open("rb")
    except OSError as fault:
        raise CommandError(f"cannot read {name}: {fault.strerror}") from fault


def _body_of(line: bytes | str) -> tuple[Any, bytes]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as fault:
        raise BadLine("not valid JSON") from fault
    if not isinstance(record, dict) or "id" not in record:
        raise BadLine("not an object with an id")
    if isinstance(record.get("body"), str):
        return record["id"], record["body"].encode("utf-8", errors="surrogatepass")
    if not isinstance(record.get("body_b64"), str):
        raise BadLine("neither body nor body_b64 holds text")
    try:
        return record["id"], base64.b64decode(record["body_b64"], validate=True)
    except (binascii.Error, ValueError) as fault:
        raise BadLine("body_b64 is not base64") from fault


def _as_json(identity: Any, reading: ParsedAlert) -> str:
    members: Iterable[tuple[str, Any]] = (
        ("id", identity),
        ("ticker", reading.ticker),
        ("action", reading.action),
        ("price", reading.price),
        ("quantity", reading.quantity),
        ("timeframe", reading.timeframe),
        ("strategy", reading.strategy),
        ("error", reading.error),
    )
    # Decimals are written digit by digit: as floats they would carry noise.
    written = ", ".join(f"{json.dumps(key)}: {_text_of(value)}" for key, value in members)
    return f"{{{written}}}"


def _text_of(value: Any) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else json.dumps(value)
