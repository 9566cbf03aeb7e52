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
    fields = {
        name.name: _plain(getattr(reading, name.name)) for name in dataclasses.fields(reading)
    }
    return {
        name: value
        for name, value in fields.items()
        if value not in (None, "", [], False) and name != "signals"
    }


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
