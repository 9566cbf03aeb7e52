"""Bars from a file into the store, with an account of every row: nothing is dropped in silence."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apps.marketdata import files, sessions, store
from apps.marketdata.files import Plan, Source
from apps.marketdata.models import Instrument
from apps.marketdata.sessions import to_datetime
from ml.bars import SECOND_NS, Bars
from ml.raw_bars import Findings, Gap, RawBars, clean, findings
from ml.types import BoolVector, IntVector

EXAMPLES = 5
REASONS = {
    "not_a_price": "a price is missing, zero or negative",
    "high_low": "high or low do not contain open and close",
    "bad_volume": "volume is missing or negative",
    "duplicate": "a later row has the same time",
    "bad_time": "the stamp is no moment in time",
    "conflicting": "stored already with other values (--replace overwrites)",
}
BAD_TICKS = ("not_a_price", "high_low", "bad_volume")


@dataclass(frozen=True)
class Rejected:
    """A row that was not stored; ``row`` counts from 1, after the header."""

    row: int
    reason: str


@dataclass(frozen=True)
class Report:
    """The account of one import: ``rows == stored + repeated + len(rejected)``.

    Attributes:
        repeated: rows that were stored already, with the same values.
        first: open of the first usable bar, ISO 8601; empty without one.
        gaps: steps longer than the interval; nights and weekends are among them.
        session_gaps: those of them that lack a bar while the market was open.
        missing_bars: how many those lack.
        unsorted: rows earlier than one before them; put in their place.
        duplicates: rows whose time comes again; the last one counts.
        bad_ticks: rows that are no possible bar.
        conflicting: rows that contradict what is stored.
        suspects: closes that jump away and come back; stored, for a person to look at.
        outside_hours: bars that open while the market is closed; stored.
        columns: our name of each column -> the file's.
        examples: the first few of each finding.
    """

    rows: int
    stored: int
    repeated: int
    first: str
    last: str
    gaps: int
    session_gaps: int
    missing_bars: int
    unsorted: int
    duplicates: int
    bad_ticks: int
    bad_times: int
    conflicting: int
    suspects: int
    outside_hours: int
    columns: dict[str, str]
    examples: dict[str, list[str]]
    rejected: tuple[Rejected, ...]

    def as_json(self) -> dict[str, Any]:
        """All but the rejected rows one by one, which may be many."""
        return asdict(self) | {"rejected": len(self.rejected)}


def import_bars(
    path: Path, *, instrument: Instrument, plan: Plan, rejects: Path | None = None
) -> Report:
    """Store a file's bars durably and say what became of each row.

    Args:
        rejects: where the rows that were not stored are written: row, reason, then as they were.

    Raises:
        Invalid: the file cannot be understood; nothing is stored.
    """
    source = files.load(path, plan)
    # Spikes are pointed out below and kept: whether one is an error only a person can say.
    cleaned = clean(source.raw, interval_ns=plan.interval_s * SECOND_NS, spike_deviations=np.inf)
    merged = store.merge(
        instrument_id=instrument.pk,
        interval_s=plan.interval_s,
        bars=cleaned.bars,
        replace=plan.replace,
    )
    conflicting = cleaned.bars.time[list(merged.refused)]
    rejected = _rejected(source, cleaned.findings, conflicting)
    if rejects is not None:
        _write(rejects, source, rejected)
    hours = _hours(cleaned.bars, cleaned.findings.gaps, instrument, plan.interval_s)
    suspects = _suspects(cleaned.bars)
    counts = Counter(each.reason for each in rejected)
    return Report(
        rows=len(source.table),
        stored=merged.stored,
        repeated=merged.repeated,
        first=_written(cleaned.bars.time[0]) if len(cleaned.bars) else "",
        last=_written(cleaned.bars.time[-1]) if len(cleaned.bars) else "",
        gaps=len(cleaned.findings.gaps),
        session_gaps=len(hours.gaps),
        missing_bars=sum(gap.bars for gap in hours.gaps),
        unsorted=len(cleaned.findings.unsorted),
        duplicates=counts["duplicate"],
        bad_ticks=sum(counts[reason] for reason in BAD_TICKS),
        bad_times=counts["bad_time"],
        conflicting=counts["conflicting"],
        suspects=len(suspects),
        outside_hours=int(hours.outside.sum()),
        columns=source.names,
        examples=_examples(source, cleaned.findings, cleaned.bars, rejected, hours, suspects),
        rejected=rejected,
    )


@dataclass(frozen=True)
class _Hours:
    """What the session calendar says: gaps while it was open, bars while it was not."""

    gaps: tuple[Gap, ...]
    outside: BoolVector


def _hours(bars: Bars, gaps: tuple[Gap, ...], instrument: Instrument, interval_s: int) -> _Hours:
    if len(bars) == 0:
        return _Hours((), np.zeros(0, np.bool_))
    step = interval_s * SECOND_NS
    # Hourly bars of a market that opens at 09:30 lie on the hour or on the half hour.
    phases, counts = np.unique(bars.time % step, return_counts=True)
    expected = sessions.expected_opens(
        instrument.calendar,
        int(bars.time[0]),
        int(bars.time[-1]) + 1,
        interval_s,
        phase=int(phases[np.argmax(counts)]),
    )
    missing = [
        int(np.searchsorted(expected, gap.end) - np.searchsorted(expected, gap.start))
        for gap in gaps
    ]
    return _Hours(
        tuple(
            Gap(gap.start, gap.end, lacking)
            for gap, lacking in zip(gaps, missing, strict=True)
            if lacking
        ),
        ~np.isin(bars.time, expected),
    )


def _suspects(bars: Bars) -> IntVector:
    raw = RawBars(*(getattr(bars, name) for name in store.COLUMNS))
    spikes = findings(raw).rejected
    return np.array([each.time for each in spikes], np.int64)


def _rejected(source: Source, found: Findings, conflicting: IntVector) -> tuple[Rejected, ...]:
    reasons = {int(row): "bad_time" for row in source.unreadable}
    reasons |= {int(source.rows[each.row]): each.reason for each in found.rejected}
    # Of rows with one time the last usable one was given to the store.
    unused = np.zeros(source.rows.size, np.bool_)
    unused[[each.row for each in found.rejected]] = True
    refused = np.isin(source.raw.time, conflicting) & ~unused
    reasons |= {int(row): "conflicting" for row in source.rows[refused]}
    return tuple(Rejected(row + 1, reason) for row, reason in sorted(reasons.items()))


def _write(path: Path, source: Source, rejected: tuple[Rejected, ...]) -> None:
    table = source.table.iloc[[each.row - 1 for each in rejected]].copy()
    table.insert(0, "rejected_row", [each.row for each in rejected])
    table.insert(1, "rejected_reason", [each.reason for each in rejected])
    table.to_csv(path, index=False)


def _examples(
    source: Source,
    found: Findings,
    bars: Bars,
    rejected: tuple[Rejected, ...],
    hours: _Hours,
    suspects: IntVector,
) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for each in rejected:
        told.setdefault(each.reason, []).append(_row(source, each.row))
    told["gaps"] = [_gap(gap) for gap in found.gaps[:EXAMPLES]]
    told["session_gaps"] = [_gap(gap) for gap in hours.gaps[:EXAMPLES]]
    told["unsorted"] = [
        _row(source, int(source.rows[row]) + 1) for row in found.unsorted[:EXAMPLES]
    ]
    told["suspects"] = [_written(time) for time in suspects[:EXAMPLES]]
    told["outside_hours"] = [_written(time) for time in bars.time[hours.outside][:EXAMPLES]]
    return {finding: examples[:EXAMPLES] for finding, examples in told.items() if examples}


def _row(source: Source, row: int) -> str:
    values = source.table.iloc[row - 1]
    return f"row {row}: {', '.join(str(values[name]) for name in source.names.values())}"


def _gap(gap: Gap) -> str:
    bars = "1 bar" if gap.bars == 1 else f"{gap.bars} bars"
    return f"{_written(gap.start)} to {_written(gap.end)}: {bars}"


def _written(time: int) -> str:
    return to_datetime(time).strftime("%Y-%m-%dT%H:%M:%SZ")
