"""How the tests of this room compare a reading with what was expected of it."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from apps.webhooks.formats import ParsedAlert, parse


def is_same(expected: Any, value: Any) -> bool:
    """Compare numbers as numbers, times as ISO text, the rest as it is."""
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        return value is not None and Decimal(str(expected)) == value
    if isinstance(value, datetime):
        return bool(value.isoformat() == expected)
    return bool(expected == value)


def differences(reading: ParsedAlert, expected: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    found: dict[str, tuple[Any, Any]] = {}
    for name, value in expected.items():
        if name == "signals":
            if len(value) != len(reading.signals):
                found[name] = (len(value), len(reading.signals))
            for place, (part, signal) in enumerate(zip(value, reading.signals, strict=False)):
                for key, pair in differences(signal, part).items():
                    found[f"signals[{place}].{key}"] = pair
        elif not is_same(value, getattr(reading, name)):
            found[name] = (value, getattr(reading, name))
    return found


def assert_reads(body: bytes, expected: dict[str, Any]) -> None:
    assert differences(parse(body), expected) == {}
