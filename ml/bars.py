"""Bars: the columns time, open, high, low, close, volume, checked once and then trusted."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, overload

import numpy as np

from ml.jit import kernel
from ml.types import BoolVector, FloatVector, IntVector

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS

_COLUMNS = ("time", "open", "high", "low", "close", "volume")


class Bar(NamedTuple):
    """One bar; prices in quote currency per unit, volume in base units.

    Attributes:
        time: open time, int64 ns UTC.
    """

    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float = 0.0

    @classmethod
    def opened(cls, time: int, price: float) -> "Bar":
        """The bar at the moment it opens, when all its prices are one."""
        return cls(time, price, price, price, price)


@dataclass(frozen=True, eq=False)
class Bars:
    """Closed bars of one instrument and interval, oldest first.

    The arrays are read-only views: a feature that writes into its input is a bug found at once.

    Attributes:
        time: (T,) int64 ns UTC of each bar's **open**, strictly increasing.
        open: (T,) quote currency per unit, as are high, low and close; finite and positive.
        high: (T,) at least open and close.
        low: (T,) at most open and close.
        close: (T,)
        volume: (T,) base units, finite, not negative; zero where the source has none.

    Raises:
        ValueError: a column of another shape or dtype, or the first row that breaks a rule.
    """

    time: IntVector
    open: FloatVector
    high: FloatVector
    low: FloatVector
    close: FloatVector
    volume: FloatVector

    def __post_init__(self) -> None:
        for name in _COLUMNS:
            column = np.asarray(getattr(self, name))
            _check_column(name, column, self.time.shape[0] if self.time.ndim else 0)
            self._hold(name, column)
        self._check_rows()

    def _hold(self, name: str, column: IntVector | FloatVector) -> None:
        view = column.view()
        view.flags.writeable = False
        object.__setattr__(self, name, view)

    def _check_rows(self) -> None:
        step_back = np.zeros(len(self), np.bool_)
        step_back[1:] = self.time[1:] <= self.time[:-1]
        _refuse(step_back, self.time, "time is not later than the row before")
        for name in ("open", "high", "low", "close"):
            price = getattr(self, name)
            _refuse(~((price > 0.0) & (price < math.inf)), price, f"{name} is not a positive price")
        _refuse(self.high < np.maximum(self.open, self.close), self.high, "high is below the body")
        _refuse(self.low > np.minimum(self.open, self.close), self.low, "low is above the body")
        _refuse(
            ~((self.volume >= 0.0) & (self.volume < math.inf)),
            self.volume,
            "volume is negative or not a number",
        )

    def __len__(self) -> int:
        return int(self.time.shape[0])

    @overload
    def __getitem__(self, rows: int) -> Bar: ...
    @overload
    def __getitem__(self, rows: slice) -> "Bars": ...
    def __getitem__(self, rows: int | slice) -> "Bar | Bars":
        """One Bar, or the Bars of a slice (views, not copies).

        Raises:
            ValueError: a slice that skips or reverses.
            IndexError: no such row.
        """
        if isinstance(rows, slice):
            if rows.step not in (None, 1):
                raise ValueError(f"bars can be cut but not skipped, step was {rows.step}")
            return _trusted(*(getattr(self, name)[rows] for name in _COLUMNS))
        return Bar(
            int(self.time[rows]),
            *(float(getattr(self, name)[rows]) for name in _COLUMNS[1:]),
        )

    @cached_property
    def interval_ns(self) -> int:
        """The commonest step between neighbouring opens, ns; gaps make some steps longer.

        Raises:
            ValueError: fewer than two bars.
        """
        if len(self) < 2:
            raise ValueError(f"an interval needs two bars, there are {len(self)}")
        return commonest_step(self.time)


def commonest_step(time: IntVector) -> int:
    """The step between neighbours that occurs most often; the shortest of equals.

    Args:
        time: (T,) increasing, ns; at least two.
    """
    candidate, votes = _majority_step(time)
    if 2 * votes > time.size - 1:
        return int(candidate)
    steps, counts = np.unique(np.diff(time), return_counts=True)
    return int(steps[np.argmax(counts)])


def resample(
    bars: Bars,
    interval_ns: int | None,
    *,
    anchor_ns: int = 0,
    boundaries: IntVector | None = None,
    until: int | None = None,
    closed_only: bool = True,
) -> Bars:
    """Join bars into longer ones: first open, highest high, lowest low, last close, volume summed.

    A bar belongs to the bucket its open falls in; a bucket is [start, end), stamped with its
    start, whether or not its first bar exists; buckets without bars do not exist.

        without boundaries:  start = anchor + ⌊(t − anchor) / interval⌋ · interval
        with boundaries:     the same from the session's start, and no bucket outlasts its session

    Args:
        bars: the source, T bars.
        interval_ns: length of a bucket, a whole multiple of ``bars.interval_ns``; None joins each
            whole session into one bar.
        anchor_ns: where counting starts, ns UTC; 0 gives UTC hours and days, and weeks that begin
            on Thursday (1970 did): use 4 * DAY_NS for Mondays.
        boundaries: (S + 1,) increasing ns UTC: the starts of S sessions and the end of the last.
        until: the source is complete up to here, ns UTC. Left out, it is the end of the last bar;
            say it where quiet minutes have no bar, or the last bucket waits for the next trade.
        closed_only: leave out a last bucket that ends after ``until``: it is still forming.

    Returns:
        Bars, at most T.

    Raises:
        ValueError: an interval that is shorter than the source's or no multiple of it;
            boundaries that do not increase, or a bar outside them.

    Source:
        Equal to pandas' ``resample(label="left", closed="left")``; see the tests.
    """
    if len(bars) == 0:
        return bars
    _check_interval(bars, interval_ns, boundaries)
    edges = np.array([np.iinfo(np.int64).max]) if boundaries is None else _edges(bars, boundaries)
    length = interval_ns or 0
    count, last_end = _count_buckets(bars.time, length, anchor_ns, edges)
    complete = until
    if complete is None:
        complete = int(bars.time[-1]) + (bars.interval_ns if len(bars) > 1 else 0)
    joined = _join(
        bars.time,
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        bars.volume,
        length,
        anchor_ns,
        edges,
        count,
    )
    result = _trusted(*joined)
    return result[:-1] if closed_only and last_end > complete else result


def _check_column(name: str, column: IntVector | FloatVector, rows: int) -> None:
    wanted = np.int64 if name == "time" else np.float64
    if column.ndim != 1:
        raise ValueError(f"{name} must be 1-D, was {column.ndim}-D")
    if column.dtype != wanted:
        raise ValueError(f"{name} must be {np.dtype(wanted)}, was {column.dtype}")
    if column.shape[0] != rows:
        raise ValueError(f"{name} has {column.shape[0]} rows, time has {rows}")


def _refuse(broken: BoolVector, column: IntVector | FloatVector, what: str) -> None:
    if broken.any():
        row = int(np.argmax(broken))
        raise ValueError(f"row {row}: {what} ({column[row]})")


def _trusted(*columns: IntVector | FloatVector) -> Bars:
    # For columns that come from checked bars: to check them again would cost more than the work.
    bars = object.__new__(Bars)
    for name, column in zip(_COLUMNS, columns, strict=True):
        bars._hold(name, column)
    return bars


def _check_interval(bars: Bars, interval_ns: int | None, boundaries: IntVector | None) -> None:
    if interval_ns is None:
        if boundaries is None:
            raise ValueError("whole sessions need boundaries")
        return
    if interval_ns <= 0:
        raise ValueError(f"interval_ns must be positive, was {interval_ns}")
    if len(bars) > 1 and interval_ns % bars.interval_ns:
        raise ValueError(f"{interval_ns} ns is no multiple of the bars' {bars.interval_ns} ns")


def _edges(bars: Bars, boundaries: IntVector) -> IntVector:
    edges = np.asarray(boundaries, np.int64)
    if edges.ndim != 1 or edges.size < 2 or not (edges[1:] > edges[:-1]).all():
        raise ValueError("boundaries must be 1-D, increasing, and at least a start and an end")
    _refuse((bars.time < edges[0]) | (bars.time >= edges[-1]), bars.time, "outside all sessions")
    return edges


@kernel
def _majority_step(time: IntVector) -> tuple[int, int]:
    """The only step that can make up more than half of all, and its count.

    Source:
        Boyer and Moore (1991), "MJRTY: a fast majority vote algorithm".
    """
    candidate, votes = time[1] - time[0], 0
    for t in range(1, time.size):
        step = time[t] - time[t - 1]
        if votes == 0:
            candidate = step
        votes += 1 if step == candidate else -1
    votes = 0
    for t in range(1, time.size):
        if time[t] - time[t - 1] == candidate:
            votes += 1
    return candidate, votes


@kernel
def _bucket(
    time: int, interval: int, anchor: int, edges: IntVector, session: int
) -> tuple[int, int, int]:
    # Start and end of the bucket that ``time`` falls in, and the session to go on from. One edge
    # means no sessions; interval 0 means the whole session.
    start, end = anchor, edges[-1]
    if edges.size > 1:
        while edges[session + 1] <= time:
            session += 1
        start, end = edges[session], edges[session + 1]
    if interval > 0:
        start += (time - start) // interval * interval
        if end - start > interval:
            end = start + interval
    return start, end, session


@kernel
def _count_buckets(
    time: IntVector, interval: int, anchor: int, edges: IntVector
) -> tuple[int, int]:
    # Counted first, so that the joined columns are allocated at their own size.
    count, session = 1, 0
    _, end, session = _bucket(time[0], interval, anchor, edges, session)
    for t in range(1, time.size):
        if time[t] >= end:
            _, end, session = _bucket(time[t], interval, anchor, edges, session)
            count += 1
    return count, end


@kernel
def _join(
    time: IntVector,
    open_: FloatVector,
    high: FloatVector,
    low: FloatVector,
    close: FloatVector,
    volume: FloatVector,
    interval: int,
    anchor: int,
    edges: IntVector,
    count: int,
) -> tuple[IntVector, FloatVector, FloatVector, FloatVector, FloatVector, FloatVector]:
    starts = np.empty(count, np.int64)
    opens, highs, lows = np.empty(count), np.empty(count), np.empty(count)
    closes, volumes = np.empty(count), np.empty(count)
    start, end, session = _bucket(time[0], interval, anchor, edges, 0)
    b, fresh = 0, True
    for t in range(time.size):
        if time[t] >= end:
            start, end, session = _bucket(time[t], interval, anchor, edges, session)
            b += 1
            fresh = True
        if fresh:
            starts[b], opens[b], highs[b], lows[b] = start, open_[t], high[t], low[t]
            volumes[b], fresh = 0.0, False
        highs[b] = max(highs[b], high[t])
        lows[b] = min(lows[b], low[t])
        closes[b] = close[t]
        volumes[b] += volume[t]
    return starts, opens, highs, lows, closes, volumes
