"""Real bars of the test data, as the replay takes them."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ml.bars import Bars
from ml.raw_bars import clean

if TYPE_CHECKING:
    from apps.marketdata.models import Instrument


@dataclass(frozen=True)
class History:
    """A window of one file, and how its instrument is traded.

    Attributes:
        rows: of the file.
        lot: units; orders are some whole lots.
    """

    symbol: str
    file: str
    interval_s: int
    rows: slice
    tick: Decimal
    lot: Decimal
    fee_rate: Decimal
    slippage_ticks: int

    def bars(self, data: Path) -> Bars:
        from apps.marketdata.files import Plan, load

        path = data / self.file
        if not path.exists():
            pytest.skip(f"no bars at {path}")
        cleaned = clean(load(path, Plan(interval_s=self.interval_s)).raw)
        return cleaned.bars[self.rows]

    def instrument(self) -> "Instrument":
        from tests.factories import make_instrument

        return make_instrument(
            self.symbol,
            tick_size=self.tick,
            lot_size=self.lot,
            fee_rate=self.fee_rate,
            slippage_ticks=self.slippage_ticks,
        )


EURUSD = History(
    symbol="EURUSD",
    file="ohlcv/backtestingpy/EURUSD_1h_2017_2018.csv.gz",
    interval_s=3600,
    rows=slice(1000, 1140),
    tick=Decimal("0.00001"),
    lot=Decimal(1000),
    fee_rate=Decimal("0.00002"),
    slippage_ticks=2,
)
BTCUSD = History(
    symbol="BTCUSD",
    file="ohlcv/crypto_minute/BTCUSD_1m_2018_bitfinex.parquet",
    interval_s=60,
    # The evening of 16 January: a tenth of the price lost and won again.
    rows=slice(22_300, 22_480),
    tick=Decimal("0.01"),
    lot=Decimal("0.0001"),
    fee_rate=Decimal("0.001"),
    slippage_ticks=3,
)
