"""When, and which: the times and the ids that an alert carries."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from apps.webhooks.fields import MAX_SHORT_TEXT, PLACEHOLDER, Found
from apps.webhooks.numbers import NumberText
from apps.webhooks.readings import MessageCode


def read(found: Found) -> dict[str, Any]:
    """Return the times and the ids of an order, as fields of the reading."""
    bar_time = _time(found, "bar_time")
    fired_at = _time(found, "fired_at")
    plain = _time(found, "time")
    if plain is not None:
        # {{time}} is a bar's open, on a whole minute; {{timenow}} under the same name is not.
        if plain.second or plain.microsecond or (bar_time is not None and fired_at is None):
            fired_at = fired_at or plain
        else:
            bar_time = bar_time or plain
    order_id = found.text("order_id")
    alert_id = found.text("alert_id")
    plain_id = _text_of_id(found)
    if plain_id and _TIMED_ID.search(plain_id):
        alert_id = alert_id or plain_id
    else:
        order_id = order_id or plain_id
    lag = found.number("max_lag")
    return {
        "bar_time": bar_time,
        "fired_at": fired_at,
        "order_id": order_id,
        "alert_id": alert_id,
        "max_lag_s": int(lag.value) if lag and 0 < lag.value <= 604_800 else None,
    }


# A plain "id" is as a rule a constant (a bot's, an order's); with a time in it, it is unique.
_TIMED_ID = re.compile(r"\d{4}-\d\d-\d\dT\d\d|(?<!\d)1\d{9}(?:\d{3})?(?!\d)", re.ASCII)


def _text_of_id(found: Found) -> str | None:
    value = found.first("id")
    return str(value)[:MAX_SHORT_TEXT] if isinstance(value, NumberText) else found.text("id")


_EPOCH = re.compile(r"1\d{9}(?:\.\d{1,9})?|1\d{12}", re.ASCII)
_ISO = re.compile(r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d[\d:.]{0,16}(?:Z|[+-]\d\d:?\d\d)?", re.ASCII)
_START = datetime(1970, 1, 1, tzinfo=UTC)


def _time(found: Found, name: str) -> datetime | None:
    for value in found.all(name):
        if not isinstance(value, str):
            continue
        if PLACEHOLDER.search(value):
            found.faults.add(MessageCode.UNRESOLVED_PLACEHOLDER)
            continue
        moment = read_time(str(value).strip())
        if moment is not None:
            return moment
    return None


def read_time(text: str) -> datetime | None:
    """Read ISO 8601 or an epoch in seconds or milliseconds; a time without a zone is UTC."""
    if _EPOCH.fullmatch(text):
        seconds, _, fraction = text.partition(".")
        if len(seconds) == 13:
            return _START + timedelta(milliseconds=int(seconds))
        return _START + timedelta(seconds=int(seconds), microseconds=int(f"{fraction:0<6}"[:6]))
    if not _ISO.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
