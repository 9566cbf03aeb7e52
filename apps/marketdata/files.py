"""Bars as files have them: find the columns, read the stamps, keep every row's number."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd

from apps.core.errors import Invalid
from apps.marketdata.sessions import EPOCH
from ml.bars import DAY_NS, SECOND_NS
from ml.raw_bars import RawBars
from ml.types import IntVector

COLUMNS = ("time", "open", "high", "low", "close", "volume")
# The names that files give to the columns, in lower case and without marks.
SPELLINGS: dict[str, tuple[str, ...]] = {
    "time": ("time", "timestamp", "ts", "datetime", "date", "opentime", "unix"),
    "open": ("open", "o", "openprice"),
    "high": ("high", "h", "highprice"),
    "low": ("low", "l", "lowprice"),
    "close": ("close", "c", "closeprice", "last"),
    "volume": ("volume", "v", "vol", "tickvolume", "tickvol"),
}
# An epoch stamp says its unit by its size, between the years 1973 and 5138.
EPOCH_UNIT_NS = ((1e8, 1e11, 10**9), (1e11, 1e14, 10**6), (1e14, 1e17, 10**3), (1e17, 1e19, 1))
OFFSET = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")
DATE_ONLY = re.compile(r"^\d{4}[-./]?\d\d[-./]?\d\d$")
HOUR_ONLY = re.compile(r"^\d{1,2}:\d\d")
UNREADABLE = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Plan:
    """How a file is to be read and stored.

    Attributes:
        timezone: of stamps that do not say it themselves.
        stamp: whether rows are stamped with the bar's ``open`` or its ``close``.
        columns: our name of a column -> the file's, where it cannot be recognised.
        replace: bars that are stored with other values are overwritten.
    """

    interval_s: int
    timezone: str = "UTC"
    stamp: str = "open"
    columns: Mapping[str, str] = field(default_factory=dict)
    replace: bool = False


@dataclass(frozen=True)
class Source:
    """A file's rows.

    Attributes:
        table: as they are in the file.
        names: our name of each column -> the file's.
        raw: the rows whose stamp can be read.
        rows: (R,) the place of each of them in the table.
        unreadable: the places of the others.
    """

    table: pd.DataFrame
    names: dict[str, str]
    raw: RawBars
    rows: IntVector
    unreadable: IntVector


def load(path: Path, plan: Plan) -> Source:
    """Read a file of bars, CSV (also .gz) or Parquet.

    Raises:
        Invalid: the file, its columns, its stamps or the time zone cannot be understood.
    """
    table = _with_stamp(_table(path))
    names = _recognise([str(name) for name in table.columns], plan.columns)
    times = _times(table[names["time"]], plan)
    rows = np.flatnonzero(times != UNREADABLE)
    if plan.stamp == "close":
        times = times - plan.interval_s * SECOND_NS
    prices = [_numbers(table, names.get(name))[rows] for name in COLUMNS[1:]]
    raw = RawBars(times[rows], *prices)
    return Source(table, names, raw, rows, np.setdiff1d(np.arange(len(table)), rows))


def _table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise Invalid(f"there is no file {path}")
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
            return table if table.index.name is None else table.reset_index()
        # As text: what cannot be read as a number is a finding, not the end.
        return pd.read_csv(
            path,
            sep=_separator(path),
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            encoding="utf-8-sig",
            index_col=False,
        )
    except (ValueError, OSError, EOFError) as error:
        raise Invalid(f"{path} cannot be read: {error}") from error


def _separator(path: Path) -> str:
    header = pd.read_csv(path, sep="\0", header=None, nrows=1, dtype=str, encoding="utf-8-sig")
    return max(",;\t", key=str(header.iloc[0, 0]).count)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _with_stamp(table: pd.DataFrame) -> pd.DataFrame:
    """Join a date's and an hour's column, where a file has two for the stamp."""
    plain = {_plain(str(name)): name for name in table.columns}
    if not len(table) or not {"date", "time"} <= plain.keys():
        return table
    date, hour = table[plain["date"]].astype(str), table[plain["time"]].astype(str)
    if not HOUR_ONLY.match(hour.iloc[0]):
        return table
    stamp = date.str.replace(r"[./]", "-", regex=True) + "T" + hour
    return table.drop(columns=[plain["date"]]).assign(**{str(plain["time"]): stamp})


def _recognise(found: list[str], given: Mapping[str, str]) -> dict[str, str]:
    for name in given.values():
        if name not in found:
            raise Invalid(f"there is no column {name!r}", hint=", ".join(found))
    names = dict(given)
    for wanted in COLUMNS:
        spelled = None if wanted in names else _spelled(wanted, found)
        if spelled is not None:
            names[wanted] = spelled
    if missing := [wanted for wanted in COLUMNS[:5] if wanted not in names]:
        raise Invalid(
            f"no column is the {', the '.join(missing)}; there are {', '.join(found)}",
            hint=f"Name it: --columns {missing[0]}=NAME",
        )
    return names


def _spelled(wanted: str, found: list[str]) -> str | None:
    for spelling in SPELLINGS[wanted]:
        matching = [name for name in found if _plain(name) == spelling]
        if len(matching) > 1:
            raise Invalid(
                f"two columns could be the {wanted}: {', '.join(matching)}",
                hint=f"Name the right one: --columns {wanted}={matching[0]}",
            )
        if matching:
            return matching[0]
    return None


def _numbers(table: pd.DataFrame, name: str | None) -> "np.ndarray[Any, np.dtype[np.float64]]":
    if name is None:
        return np.zeros(len(table))
    return pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)


def _times(stamps: "pd.Series[Any]", plan: Plan) -> IntVector:
    """Ns UTC of each stamp; UNREADABLE where it is none."""
    if isinstance(stamps.dtype, pd.DatetimeTZDtype) or stamps.dtype.kind == "M":
        return _in_utc(pd.DatetimeIndex(stamps), plan)
    numbers = pd.to_numeric(stamps, errors="coerce")
    written = stamps[stamps.notna() & (stamps.astype(str) != "")]
    if (
        len(written)
        and numbers[written.index].notna().all()
        and numbers.max() >= EPOCH_UNIT_NS[0][0]
    ):
        return _from_epoch(numbers)
    return _from_text(stamps.astype(str), plan)


def _from_epoch(numbers: "pd.Series[Any]") -> IntVector:
    largest = float(numbers.max())
    unit_ns = next((unit for low, high, unit in EPOCH_UNIT_NS if low <= largest < high), None)
    if unit_ns is None:
        raise Invalid(f"{largest:.0f} is no time of our era in s, ms, us or ns")
    times = np.full(len(numbers), UNREADABLE, np.int64)
    known = numbers.notna().to_numpy()
    given = numbers[known]
    if given.dtype.kind == "f" and unit_ns > 1:
        # Fractions of a second are rounded to a microsecond, which is all that a float64 holds.
        times[known] = np.round(given.to_numpy() * (unit_ns / 1000)).astype(np.int64) * 1000
    else:
        times[known] = given.to_numpy(np.int64) * unit_ns
    return times


def _from_text(stamps: "pd.Series[str]", plan: Plan) -> IntVector:
    written = stamps[stamps != ""]
    offsets = written.map(lambda stamp: OFFSET.search(stamp) is not None)
    if len(written) and offsets.all():
        return _in_utc(pd.DatetimeIndex(_parsed(stamps, utc=True)), plan)
    if offsets.any():
        raise Invalid("some stamps say their time zone and some do not")
    dates = written.map(lambda stamp: DATE_ONLY.match(stamp) is not None)
    if dates.all() and plan.interval_s * SECOND_NS >= DAY_NS:
        # A date is a session's name, not a moment: it is the same in every time zone.
        return _in_utc(pd.DatetimeIndex(_parsed(stamps, utc=True)), plan)
    return _in_utc(pd.DatetimeIndex(_parsed(stamps, utc=False)), plan)


def _parsed(stamps: "pd.Series[str]", *, utc: bool) -> "pd.Series[Any]":
    return pd.to_datetime(stamps, format="ISO8601", errors="coerce", utc=utc)


def _in_utc(stamps: pd.DatetimeIndex, plan: Plan) -> IntVector:
    if stamps.tz is None:
        try:
            zone = ZoneInfo(plan.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise Invalid(
                f"there is no time zone {plan.timezone!r}", hint="UTC, America/New_York, ..."
            ) from error
        # The hour that a clock change repeats or leaves out is no moment, and is not guessed.
        stamps = stamps.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    # pandas writes "not a time" as the smallest integer, which is our UNREADABLE.
    return stamps.tz_convert(EPOCH.tzinfo).as_unit("ns").asi8
