"""What the tests of market data are made of: instruments, bars, the real files."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.marketdata.models import Instrument
from ml.bars import MINUTE_NS, Bars

ROOT = Path(__file__).resolve().parents[3]
# Midnight of a Monday, ns UTC.
MONDAY = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000_000
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def make_instrument(symbol: str = "BTCUSD", exchange: str = "TEST", **details: Any) -> Instrument:
    """An instrument in the database; inside ``acting_across``."""
    values: dict[str, Any] = {
        "name": symbol,
        "asset_class": "crypto",
        "currency": "USD",
        "tick_size": Decimal("0.01"),
        "lot_size": Decimal("0.0001"),
    }
    return Instrument.objects.create(symbol=symbol, exchange=exchange, **(values | details))


def make_bars(minutes: Sequence[int], *, start: int = MONDAY, step: int = MINUTE_NS) -> Bars:
    """Bars at so many steps after ``start``; each one's prices follow from its place."""
    place = np.array(minutes, np.int64)
    close = (100 + place % 7).astype(np.float64)
    opened = (100 + (place * 3) % 5).astype(np.float64)
    return Bars(
        time=start + place * step,
        open=opened,
        high=np.maximum(opened, close) + 1.0 + place % 3,
        low=np.minimum(opened, close) - 1.0 - place % 2,
        close=close,
        volume=(10 + place % 11).astype(np.float64),
    )


def same(first: Bars, second: Bars) -> bool:
    """Whether two Bars are equal to the last bit."""
    return all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("time", "open", "high", "low", "close", "volume")
    )


def real_file(name: str) -> Path:
    """A file of the real data, or a skip that says why."""
    data = Path(os.environ.get("PINELAB_TEST_DATA", str(ROOT.parent / "shared" / "data")))
    if not (data / "ohlcv" / name).exists():
        pytest.skip(f"no real data: {data / 'ohlcv' / name} (set PINELAB_TEST_DATA)")
    return data / "ohlcv" / name
