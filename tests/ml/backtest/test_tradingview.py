"""The fill kernel against trade lists that TradingView's strategy tester exported.

Levels are percentages of a close or an entry, so they lie between ticks, and the lists hold gaps
and bars that touch several levels.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ml.backtest.fills import BUY, LIMIT, SELL, STOP, Book
from ml.backtest.orders import place, step_bar
from ml.bars import Bar

PROBES = "tradingview/pineforge/probes"
SHARES = {
    "near long stop": 0.002,
    "near short stop": -0.002,
    "farther long stop": 0.004,
    "farther short stop": -0.004,
}


@pytest.fixture(scope="module")
def feed(real: Callable[[str], Path]) -> Any:
    """15-minute bars, indexed by open time."""
    bars = pd.read_csv(real("tradingview/pineforge/feed/ohlcv_ETH-USDT-USDT_15m_warmup6m.csv.gz"))
    return bars.set_index(pd.to_datetime(bars["timestamp"], unit="ms"))


def trades(path: Path) -> Any:
    """The list with fill times in UTC; the export's clock is eight hours ahead."""
    listed = pd.read_csv(path, encoding="utf-8-sig")
    return listed.assign(
        utc=pd.to_datetime(listed["Date and time"]) - pd.Timedelta(hours=8),
        price=listed["Price USDT"],
    )


def carried(book: Book, feed: Any, *, position: float) -> list[tuple[pd.Timestamp, float]]:
    """Time and price of every fill over ``feed``; a bar's time is its row number there."""
    fills = []
    rows = feed[["open", "high", "low", "close"]].itertuples(index=False)
    for row, prices in enumerate(rows):
        bar = Bar(row, *prices)
        filled = step_bar(bar, book=book, position=position, tick=0.01)
        fills += [(feed.index[row], fill.price) for fill in filled]
    return fills


class TestStopEntries:
    def test_bar_and_price_of_every_entry_agree(
        self, feed: Any, real: Callable[[str], Path]
    ) -> None:
        # Placed at the close of 02:45 (0.2 %) and 14:45 (0.4 %) UTC, but only when flat; kept until
        # filled or replaced on another day.
        listed = trades(real(f"{PROBES}/order-dual-stop-both-touch-priority-01/tv_trades.csv.gz"))
        entries = listed[listed["Type"].str.startswith("Entry")]
        number = listed.columns[0]
        opened = entries.set_index(number)["utc"]
        closed = listed[listed["Type"].str.startswith("Exit")].set_index(number)["utc"]
        wrong = []
        for entry in entries.itertuples():
            share = SHARES[str(entry.Signal)]
            hour = 2 if abs(share) < 0.003 else 14
            placed = entry.utc.normalize() + pd.Timedelta(hours=hour, minutes=45)
            while placed >= entry.utc or ((opened <= placed) & (placed < closed)).any():
                placed -= pd.Timedelta(days=1)
            life = feed.loc[placed : entry.utc]
            book = Book.empty(1)
            place(
                book,
                kind=STOP,
                side=BUY if share > 0 else SELL,
                quantity=1.0,
                stop=float(life["close"].iloc[0]) * (1.0 + share),
                active_from=1,
            )
            if carried(book, life, position=0.0) != [(entry.utc, entry.price)]:
                wrong.append(entry)

        assert len(entries) == 757
        assert wrong == []


class TestBracketExits:
    def test_bar_and_price_of_every_exit_agree(
        self, feed: Any, real: Callable[[str], Path]
    ) -> None:
        # Long at an open; target 0.4 % above and stop 0.4 % below, from the next bar on.
        listed = trades(real(f"{PROBES}/bracket-exit-tp-sl-fixed-01/tv_trades.csv.gz"))
        number = listed.columns[0]
        entries = listed[listed["Type"] == "Entry long"].set_index(number)
        exits = listed[listed["Signal"] == "bracket"].set_index(number)
        wrong = []
        for trade, leave in exits.iterrows():
            entry = entries.loc[trade]
            book = Book.empty(2)
            for kind, level in ((LIMIT, 1.004), (STOP, 0.996)):
                price = float(entry["price"]) * level
                place(
                    book,
                    kind=kind,
                    side=SELL,
                    quantity=1.0,
                    limit=price if kind == LIMIT else float("nan"),
                    stop=price if kind == STOP else float("nan"),
                    oca=1,
                    reduce_only=True,
                    active_from=1,
                )
            life = feed.loc[entry["utc"] : leave["utc"]]
            if carried(book, life, position=1.0) != [(leave["utc"], leave["price"])]:
                wrong.append(leave)

        assert len(exits) > 250
        assert wrong == []
