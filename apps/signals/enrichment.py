"""What is known beside the message: features of the last closed bar, and the reading itself."""

import dataclasses
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from apps.marketdata import selectors as market
from apps.marketdata.models import Instrument
from apps.webhooks.formats import ParsedAlert
from ml import features as columns

READ = tuple(field.name for field in dataclasses.fields(ParsedAlert) if field.name != "signals")
INTERVAL_S = 60
# Enough for every feature to have warmed up.
BARS = 200

_latest: dict[UUID, tuple[datetime, dict[str, float]]] = {}


def features(instruments: Iterable[Instrument]) -> dict[UUID, dict[str, float]]:
    """Features of each instrument's last closed bar; empty while there are too few bars.

    Computed once a bar: what is asked for again within it is remembered.
    """
    found: dict[UUID, dict[str, float]] = {}
    ids = [instrument.pk for instrument in instruments]
    for pk, last_bar in market.last_closed_times(ids, INTERVAL_S).items():
        known = _latest.get(pk)
        if known is None or known[0] != last_bar:
            bars = market.latest_bars(pk, INTERVAL_S, BARS)
            known = _latest[pk] = (last_bar, columns.latest(bars))
        found[pk] = {name: value for name, value in known[1].items() if value == value}
    return found


def reading_of(reading: ParsedAlert) -> dict[str, Any]:
    """The whole reading in JSON, without what it did not say."""
    said = ((name, getattr(reading, name)) for name in READ)
    return {name: _plain(value) for name, value in said if not _says_nothing(value)}


def _says_nothing(value: Any) -> bool:
    # Not by equality alone: a position size of zero says something.
    return value is None or value is False or value == "" or value == ()


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return str(value)
        case datetime():
            return value.isoformat()
        case str():
            return storable(value)
        case tuple():
            return [item if isinstance(item, str) else reading_of(item) for item in value]
    return value


def storable(text: str) -> str:
    """Text without what PostgreSQL cannot hold: the null character and lone surrogates.

    The message itself is kept byte for byte in the alert.
    """
    return text.replace("\0", "").encode("utf-8", "ignore").decode()
