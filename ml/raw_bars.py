"""Raw rows as an importer gets them: what is wrong with them, and the Bars that are left."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml.bars import Bars, commonest_step
from ml.types import BoolVector, FloatVector, IntVector

Reason = Literal["not_a_price", "high_low", "bad_volume", "duplicate", "spike"]
"""not_a_price: NaN, infinite, zero or negative. high_low: the high or the low does not contain open
and close. bad_volume: NaN, infinite or negative. duplicate: a later row has the same time. spike:
see ``findings``."""


@dataclass(frozen=True)
class RawBars:
    """Rows in the source's order, unchecked but for their shape.

    Attributes:
        time: (R,) int64 ns UTC of each bar's open.
        open: (R,) float64, quote currency per unit; so are high, low and close.
        volume: (R,) float64, base units; zeros where the source has none.

    Raises:
        ValueError: a column that is not 1-D or has another length than time.
    """

    time: IntVector
    open: FloatVector
    high: FloatVector
    low: FloatVector
    close: FloatVector
    volume: FloatVector

    def __post_init__(self) -> None:
        object.__setattr__(self, "time", np.asarray(self.time, np.int64))
        for name in ("open", "high", "low", "close", "volume"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        for name in ("time", "open", "high", "low", "close", "volume"):
            column = getattr(self, name)
            if column.shape != (self.time.size,):
                raise ValueError(f"{name} must be ({self.time.size},), was {column.shape}")


@dataclass(frozen=True)
class Rejection:
    """A row that cannot be used.

    Attributes:
        row: its number in the source, from 0.
        time: its stamp, ns UTC.
        reason: the first rule it breaks.
    """

    row: int
    time: int
    reason: Reason


@dataclass(frozen=True)
class Gap:
    """Bars that should be there and are not.

    Attributes:
        start: open time of the first missing bar, ns UTC.
        end: open time of the next bar that exists (or of the last expected one, if none does).
        bars: how many are missing.
    """

    start: int
    end: int
    bars: int


@dataclass(frozen=True)
class Findings:
    """Everything that is wrong with R raw rows.

    Attributes:
        rows: R.
        unsorted: row numbers whose time is earlier than that of some row before; they are moved.
        rejected: rows that cannot be used, in the source's order.
        gaps: among the rows that can be used, oldest first.
        unexpected: row numbers stamped with none of the expected times; kept.
        spike_limit: the |log return| a spike had to exceed on both sides; infinite when unknown.
    """

    rows: int
    unsorted: tuple[int, ...]
    rejected: tuple[Rejection, ...]
    gaps: tuple[Gap, ...]
    unexpected: tuple[int, ...]
    spike_limit: float

    @property
    def is_clean(self) -> bool:
        """Nothing to report."""
        return not (self.unsorted or self.rejected or self.gaps or self.unexpected)


@dataclass(frozen=True)
class Cleaned:
    """The usable rows and the account of all others: ``len(bars) + len(rejected) == rows``."""

    bars: Bars
    findings: Findings


def findings(
    raw: RawBars,
    *,
    interval_ns: int | None = None,
    expected: IntVector | None = None,
    spike_deviations: float = 30.0,
) -> Findings:
    """Report what is wrong with raw rows, without changing them.

    A spike is a close that jumps away and comes back: with r the log returns of the usable closes
    and s = 1.4826 · median |r − median r| (over returns that are not zero, as quiet minutes would
    make s vanish),

        |rₜ| > k·s,   |rₜ₊₁| > k·s,   |rₜ + rₜ₊₁| < ½ · min(|rₜ|, |rₜ₊₁|)

    Half of the jump must be taken back, so that a crash that goes on, or a split, is not a spike.

    Args:
        raw: R rows.
        interval_ns: a longer step between neighbours is a gap; left out, the commonest step.
        expected: (E,) increasing open times, ns UTC, from an exchange calendar; given, gaps are
            expected times without a row, and nights and weekends are none.
        spike_deviations: k; infinity switches the rule off.

    Raises:
        ValueError: spike_deviations that are not positive, an interval below 1, or expected times
            that do not increase.

    Source:
        Robust scale after Hampel (1974), "The influence curve and its role in robust estimation".
    """
    return _examine(raw, interval_ns, expected, spike_deviations)[0]


def clean(
    raw: RawBars,
    *,
    interval_ns: int | None = None,
    expected: IntVector | None = None,
    spike_deviations: float = 30.0,
) -> Cleaned:
    """Sort the rows, set aside those that cannot be used, and say why for each.

    Of rows with one time the last usable one is kept: a source that repeats a bar corrects it.
    Nothing is invented: a gap stays a gap. Arguments and errors are those of ``findings``.
    """
    found, kept = _examine(raw, interval_ns, expected, spike_deviations)
    bars = Bars(
        time=raw.time[kept],
        open=raw.open[kept],
        high=raw.high[kept],
        low=raw.low[kept],
        close=raw.close[kept],
        volume=raw.volume[kept],
    )
    return Cleaned(bars, found)


def _examine(
    raw: RawBars,
    interval_ns: int | None,
    expected: IntVector | None,
    spike_deviations: float,
) -> tuple[Findings, IntVector]:
    if not spike_deviations > 0.0:
        raise ValueError(f"spike_deviations must be positive, was {spike_deviations}")
    if interval_ns is not None and interval_ns < 1:
        raise ValueError(f"interval_ns must be positive, was {interval_ns}")
    rejections = _bad_ticks(raw)
    usable = np.ones(raw.time.size, np.bool_)
    usable[list(rejections)] = False
    order = np.argsort(raw.time, kind="stable").astype(np.int64)
    kept = order[usable[order]]

    superseded = np.zeros(kept.size, np.bool_)
    superseded[:-1] = raw.time[kept][:-1] == raw.time[kept][1:]
    rejections |= {int(row): "duplicate" for row in kept[superseded]}
    kept = kept[~superseded]

    spikes, limit = _spikes(raw.close[kept], spike_deviations)
    rejections |= {int(row): "spike" for row in kept[spikes]}
    kept = kept[~spikes]

    gaps, unexpected = _gaps(raw.time[kept], interval_ns, expected)
    latest = np.maximum.accumulate(raw.time) if raw.time.size else raw.time
    found = Findings(
        rows=raw.time.size,
        unsorted=tuple(int(row) for row in np.flatnonzero(raw.time < latest)),
        rejected=tuple(
            Rejection(row, int(raw.time[row]), reason) for row, reason in sorted(rejections.items())
        ),
        gaps=gaps,
        unexpected=tuple(sorted(int(row) for row in kept[unexpected])),
        spike_limit=limit,
    )
    return found, kept


def _bad_ticks(raw: RawBars) -> dict[int, Reason]:
    prices = np.stack([raw.open, raw.high, raw.low, raw.close])
    priceless = ~((prices > 0.0) & (prices < math.inf)).all(axis=0)
    outside = (raw.high < np.maximum(raw.open, raw.close)) | (
        raw.low > np.minimum(raw.open, raw.close)
    )
    volume = ~((raw.volume >= 0.0) & (raw.volume < math.inf))
    bad: dict[int, Reason] = {}
    # The most basic fault names the row, so it is written last.
    bad |= {int(row): "bad_volume" for row in np.flatnonzero(volume)}
    bad |= {int(row): "high_low" for row in np.flatnonzero(outside)}
    bad |= {int(row): "not_a_price" for row in np.flatnonzero(priceless)}
    return bad


def _spikes(close: FloatVector, deviations: float) -> tuple[BoolVector, float]:
    spikes = np.zeros(close.size, np.bool_)
    returns = np.diff(np.log(close))
    moved = returns[returns != 0.0]
    if moved.size < 2 or math.isinf(deviations):
        return spikes, math.inf
    limit = deviations * 1.4826 * float(np.median(np.abs(moved - np.median(moved))))
    if limit == 0.0:
        return spikes, math.inf  # All moves are alike: nothing to measure a spike by.
    there, back = returns[:-1], returns[1:]
    smaller = np.minimum(np.abs(there), np.abs(back))
    spikes[1:-1] = (smaller > limit) & (np.abs(there + back) < 0.5 * smaller)
    return spikes, limit


def _gaps(
    time: IntVector, interval_ns: int | None, expected: IntVector | None
) -> tuple[tuple[Gap, ...], BoolVector]:
    if expected is not None:
        return _missing(time, np.asarray(expected, np.int64))
    none = np.zeros(time.size, np.bool_)
    if time.size < 2:
        return (), none
    interval = interval_ns or commonest_step(time)
    before = np.flatnonzero(np.diff(time) > interval)
    return (
        tuple(
            Gap(
                start=int(time[row]) + interval,
                end=int(time[row + 1]),
                bars=max(1, -(-int(time[row + 1] - time[row]) // interval) - 1),
            )
            for row in before
        ),
        none,
    )


def _missing(time: IntVector, expected: IntVector) -> tuple[tuple[Gap, ...], BoolVector]:
    if (np.diff(expected) <= 0).any():
        raise ValueError("expected times must increase")
    absent = np.flatnonzero(~np.isin(expected, time))
    runs = np.split(absent, np.flatnonzero(np.diff(absent) > 1) + 1) if absent.size else []
    gaps = tuple(
        Gap(
            start=int(expected[run[0]]),
            end=int(expected[min(run[-1] + 1, expected.size - 1)]),
            bars=int(run.size),
        )
        for run in runs
    )
    return gaps, ~np.isin(time, expected)
