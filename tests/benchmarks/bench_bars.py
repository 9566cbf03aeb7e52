"""Five years of one-minute bars from the bar store, against numpy loading the same columns.

Prints one JSON line. Both are measured warm (the files are in the page cache), as the best of
ROUNDS: what else the machine does is not measured. Neither is only a promise: numpy copies every
byte, and the store's Bars are checked row by row when they are made, which reads every page.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

ROWS = 5 * 365 * 1440 + 1440
ROUNDS = 15
THRESHOLD_MS = 50.0
INSTRUMENT = UUID("00000000-0000-7000-8000-000000000001")
COLUMNS = ("time", "open", "high", "low", "close", "volume")


def milliseconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return min(times)


def main() -> int:
    # A process of its own: the settings made below are for this benchmark alone.
    return subprocess.call([sys.executable, "-m", "tests.benchmarks.bench_bars"])


def measure() -> int:
    with tempfile.TemporaryDirectory() as place:
        settings.configure(BAR_STORE=Path(place) / "bars", INSTALLED_APPS=[])
        from apps.marketdata import store
        from ml.bars import MINUTE_NS, Bars
        from ml.markets import Shape, random_walk

        bars = random_walk(Shape(ROWS, MINUTE_NS, moves=4), seed=1, volatility=0.0005)
        store.merge(instrument_id=INSTRUMENT, interval_s=60, bars=bars)
        for name in COLUMNS:
            np.save(Path(place) / f"{name}.npy", getattr(bars, name))

        def from_store() -> Bars:
            return store.read(INSTRUMENT, 60)

        def from_numpy() -> list[NDArray[Any]]:
            return [np.load(Path(place) / f"{name}.npy") for name in COLUMNS]

        for name, column in zip(COLUMNS, from_numpy(), strict=True):
            if not np.array_equal(getattr(from_store(), name), column):
                raise SystemExit("the store does not hold what was put into it")
        value, reference = milliseconds(from_store), milliseconds(from_numpy)
    ok = value < THRESHOLD_MS
    result = {
        "bench": "bars",
        "value": round(value, 2),
        "unit": "ms",
        "reference": round(reference, 2),
        "ratio": round(value / reference, 2),
        "threshold": THRESHOLD_MS,
        "ok": ok,
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(measure())
