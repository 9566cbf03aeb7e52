from datetime import UTC, datetime

import pytest

from apps.core.errors import Invalid
from apps.marketdata import sessions
from apps.marketdata.models import Instrument
from apps.marketdata.sessions import to_datetime, to_ns

HOUR_S = 3600
DAY_S = 86_400


def at(written: str) -> datetime:
    return datetime.fromisoformat(written).replace(tzinfo=UTC)


def expected(calendar: str, start: str, end: str, interval_s: int, **phase: int) -> list[str]:
    times = sessions.expected_opens(calendar, to_ns(at(start)), to_ns(at(end)), interval_s, **phase)
    return [f"{to_datetime(time):%d %H:%M}" for time in times]


@pytest.mark.parametrize(
    ("calendar", "moment", "opened"),
    [
        ("24/7", "2024-12-25T03:00", True),
        ("XNYS", "2024-07-03T13:29", False),
        ("XNYS", "2024-07-03T13:30", True),
        ("XNYS", "2024-07-03T16:59", True),  # A half day: it closes at 13:00 in New York.
        ("XNYS", "2024-07-03T17:00", False),
        ("XNYS", "2024-07-04T15:00", False),
        ("XNYS", "2024-12-20T14:00", False),  # In winter it opens an hour later in UTC.
        ("FX", "2024-06-07T20:59", True),
        ("FX", "2024-06-07T21:00", False),
        ("FX", "2024-06-09T20:59", False),
        ("FX", "2024-06-09T21:00", True),
        ("FX", "2024-01-05T21:30", True),
        ("FX", "2024-01-05T22:00", False),
    ],
)
def test_a_market_is_open_in_its_hours(calendar: str, moment: str, opened: bool) -> None:
    assert sessions.is_open(Instrument(calendar=calendar), at(moment)) is opened


@pytest.mark.parametrize(
    ("calendar", "moment", "following"),
    [
        ("24/7", "2024-12-25T03:00", "2024-12-25T03:00"),
        ("XNYS", "2024-07-03T15:00", "2024-07-03T15:00"),
        ("XNYS", "2024-07-03T17:00", "2024-07-05T13:30"),
        ("FX", "2024-06-08T12:00", "2024-06-09T21:00"),
    ],
)
def test_the_next_open_is_now_or_the_next_session(
    calendar: str, moment: str, following: str
) -> None:
    assert sessions.next_open(Instrument(calendar=calendar), at(moment)) == at(following)


class TestExpectedOpens:
    def test_a_market_without_hours_expects_every_bar(self) -> None:
        assert expected("24/7", "2024-06-08T22:30", "2024-06-09T01:00", HOUR_S) == [
            "08 23:00",
            "09 00:00",
        ]

    def test_hourly_bars_lie_on_the_hour_or_are_counted_from_the_open(self) -> None:
        day = ("2024-07-03T00:00", "2024-07-04T00:00", HOUR_S)

        assert expected("XNYS", *day) == ["03 13:00", "03 14:00", "03 15:00", "03 16:00"]
        assert expected("XNYS", *day, phase=1800 * 10**9) == [
            "03 13:30", "03 14:30", "03 15:30", "03 16:30",
        ]  # fmt: skip

    def test_days_are_the_dates_of_sessions(self) -> None:
        week = ("2024-07-03T00:00", "2024-07-09T00:00", DAY_S)

        assert expected("XNYS", *week) == ["03 00:00", "05 00:00", "08 00:00"]
        assert expected("FX", *week) == ["03 00:00", "04 00:00", "05 00:00", "08 00:00"]
        assert len(expected("24/7", *week)) == 6

    def test_the_foreign_exchange_week_pauses_once(self) -> None:
        assert expected("FX", "2024-06-07T19:00", "2024-06-09T23:00", HOUR_S) == [
            "07 19:00", "07 20:00", "09 21:00", "09 22:00",
        ]  # fmt: skip


def test_an_unknown_calendar_is_refused_with_examples() -> None:
    with pytest.raises(Invalid, match="NOWHERE") as refusal:
        sessions.check_calendar("NOWHERE")

    assert "XNYS" in refusal.value.hint
    for known in ("24/7", "FX", "XNYS", "XETR", "CMES"):
        sessions.check_calendar(known)


def test_times_survive_both_ways_to_the_microsecond() -> None:
    moment = datetime(1969, 7, 20, 20, 17, 40, 123_457, tzinfo=UTC)

    assert to_datetime(to_ns(moment)) == moment
