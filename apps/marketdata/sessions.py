"""When a market is open: the calendars of the exchanges, and which bars are to be expected.

24/7 and the foreign exchange week are worked out here; all else is asked of exchange_calendars,
which takes half a second to import and is therefore imported by the first who needs it.
"""

import warnings
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from apps.core.errors import Invalid
from apps.marketdata.models import Instrument
from ml.bars import DAY_NS, SECOND_NS
from ml.types import IntVector

ALWAYS = "24/7"
FOREX = "FX"
NEW_YORK = ZoneInfo("America/New_York")
# The foreign exchange week begins on Sunday and ends on Friday, at this hour in New York.
FOREX_HOUR = 17
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# As far back as daily histories go; some calendars begin later.
FIRST_DAY = "1950-01-01"


def to_ns(at: datetime) -> int:
    """A datetime as ns since 1970 UTC, exactly."""
    since = at - EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND_NS + since.microseconds * 1000


def to_datetime(time: int) -> datetime:
    """Ns since 1970 UTC as a datetime; below a microsecond it is cut off."""
    seconds, rest = divmod(int(time), SECOND_NS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)


def check_calendar(name: str) -> None:
    """Refuse a calendar that nobody keeps.

    Raises:
        Invalid: there is no such calendar.
    """
    if name in (ALWAYS, FOREX):
        return
    import exchange_calendars

    if name not in exchange_calendars.get_calendar_names():
        raise Invalid(
            f"there is no calendar {name!r}",
            hint=f"{ALWAYS}, {FOREX}, or a name of exchange_calendars such as XNYS",
        )


def is_open(instrument: Instrument, at: datetime) -> bool:
    """Whether the market trades at this moment; the minute of the close is not part of it."""
    time = to_ns(at)
    opens, closes = _sessions(instrument.calendar, time - DAY_NS, time + DAY_NS)
    return bool(((opens <= time) & (time < closes)).any())


def next_open(instrument: Instrument, at: datetime) -> datetime:
    """``at`` itself while the market is open, else the moment it opens next."""
    return to_datetime(next_open_ns(instrument.calendar, to_ns(at)))


def next_open_ns(calendar: str, time: int) -> int:
    """As ``next_open``, ns UTC. Behind the calendar's end nothing is known, and it is ``time``."""
    if calendar == ALWAYS:
        return time
    opens, closes = _sessions(calendar, time - DAY_NS, time + 14 * DAY_NS)
    ahead = closes > time
    return max(time, int(opens[ahead][0])) if ahead.any() else time


def expected_opens(
    calendar: str, start: int, end: int, interval_s: int, *, phase: int = 0
) -> IntVector:
    """The open times of the bars that a market which never pauses in its hours would have.

    Bars of a day or more are stamped at midnight UTC of the session's date. Shorter ones lie on
    the clock's multiples of the interval, and a first one may begin before the session does.

    Args:
        start: the earliest, ns UTC.
        end: the first that is too late, ns UTC.
        phase: how far behind the clock's multiples they lie, ns: 30 minutes for hourly bars that
            are counted from 09:30.
    """
    step = interval_s * SECOND_NS
    if calendar == ALWAYS:
        first = -(-(start - phase) // step) * step + phase
        return np.arange(first, end, step, dtype=np.int64)
    if step >= DAY_NS:
        return _expected_dates(calendar, start, end, step)
    opens, closes = _sessions(calendar, start - DAY_NS, end + DAY_NS)
    spans = [
        np.arange((opened - phase) // step * step + phase, closed, step, dtype=np.int64)
        for opened, closed in zip(opens, closes, strict=True)
    ]
    times = np.unique(np.concatenate(spans)) if spans else np.empty(0, np.int64)
    return times[(times >= start) & (times < end)]


def _expected_dates(calendar: str, start: int, end: int, step: int) -> IntVector:
    if calendar == FOREX:
        days = np.arange(-(-start // DAY_NS), -(-end // DAY_NS), dtype=np.int64)
        dates = days[(days + 3) % 7 < 5] * DAY_NS  # 1970-01-01 was a Thursday.
    else:
        dates = _calendar(calendar).sessions.as_unit("ns").asi8
    if step > DAY_NS:
        dates = np.unique(dates // step * step)
    return dates[(dates >= start) & (dates < end)]


def _sessions(calendar: str, start: int, end: int) -> tuple[IntVector, IntVector]:
    """Opens and closes, ns UTC, of all sessions that touch [start, end)."""
    if calendar == ALWAYS:
        return np.array([start]), np.array([end])
    if calendar == FOREX:
        opens, closes = _forex_weeks(start, end)
    else:
        opens, closes = _exchange_sessions(calendar)
    touching = slice(
        int(np.searchsorted(closes, start, side="right")), int(np.searchsorted(opens, end))
    )
    return opens[touching], closes[touching]


def _forex_weeks(start: int, end: int) -> tuple[IntVector, IntVector]:
    first = (start // DAY_NS - 10) // 7 * 7 + 3  # The Sunday of a week before.
    sundays = range(first, end // DAY_NS + 8, 7)
    opens = [_five_in_new_york(day) for day in sundays]
    closes = [_five_in_new_york(day + 5) for day in sundays]
    return np.array(opens, np.int64), np.array(closes, np.int64)


def _five_in_new_york(day: int) -> int:
    date = to_datetime(day * DAY_NS)
    return to_ns(date.replace(hour=FOREX_HOUR, tzinfo=NEW_YORK))


@lru_cache(maxsize=16)
def _exchange_sessions(name: str) -> tuple[IntVector, IntVector]:
    calendar = _calendar(name)
    return _moments(calendar.opens), _moments(calendar.closes)


def _moments(column: Any) -> IntVector:
    moments: IntVector = column.dt.as_unit("ns").astype("int64").to_numpy()
    return moments


@lru_cache(maxsize=16)
def _calendar(name: str) -> Any:
    import exchange_calendars

    with warnings.catch_warnings():
        # It calls pandas in ways that pandas will no longer know; the pins keep the two together.
        warnings.simplefilter("ignore")
        try:
            return exchange_calendars.get_calendar(name, start=FIRST_DAY)
        except ValueError:
            return exchange_calendars.get_calendar(name)
