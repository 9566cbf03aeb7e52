"""Reads of the market: which instrument is meant, what it costs now, and its closed bars."""

import re
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from uuid import UUID

import numpy as np
from django.db.models import FloatField, Max, QuerySet
from django.db.models.functions import Cast

from apps.core.errors import Invalid
from apps.marketdata import sessions, store
from apps.marketdata.models import Bar, Instrument, Quote
from apps.marketdata.sessions import to_datetime, to_ns
from ml.bars import SECOND_NS, Bars, resample

Spelling = tuple[str, str | None]

# What TradingView adds to an exchange whose data are delayed.
DELAYED = re.compile(r"_DLY?$")
SEPARATORS = re.compile(r"[-/_\s]")
# ccxt's way to write a perpetual: BTC/USDT:USDT.
CCXT_PERPETUAL = re.compile(r"^([A-Z0-9]+)/([A-Z0-9]+):[A-Z0-9]+$")
# One stock, one consolidated market: charts name any of these for it.
US_STOCKS = frozenset({"NASDAQ", "NYSE", "AMEX", "ARCA", "NYSEARCA", "BATS", "CBOE", "IEX"})

NO_BARS = Bars(np.empty(0, np.int64), *(np.empty(0) for _ in range(5)))


def find_instrument(ticker: str, exchange: str | None = None) -> Instrument | None:
    """The active instrument that a ticker means, in any of the field's spellings, or None.

    ``BTCUSDT``, ``btc-usdt``, ``BTC/USDT`` and ``BINANCE:BTCUSDT`` are one; ``BTCUSDT.P`` is a
    perpetual and never the spot market. Where an exchange is named the instrument is that
    exchange's (US stocks have one market under many names); where none is named, the symbol must
    be listed once. Anything else is None: an order for the wrong market is worse than none.
    """
    return instruments_by_ticker([(ticker, exchange)])[ticker, exchange]


def instruments_by_ticker(pairs: Iterable[Spelling]) -> dict[Spelling, Instrument | None]:
    """``find_instrument`` for many (ticker, exchange) pairs with one query."""
    meant = {pair: _spelled(*pair) for pair in pairs}
    symbols = {symbol for symbol, _ in meant.values() if symbol}
    listed: dict[str, list[Instrument]] = {}
    for instrument in Instrument.objects.filter(symbol__in=symbols, is_active=True):
        listed.setdefault(instrument.symbol, []).append(instrument)
    return {
        pair: _choose(listed.get(symbol, []), exchange)
        for pair, (symbol, exchange) in meant.items()
    }


def _spelled(ticker: str, exchange: str | None) -> tuple[str, str | None]:
    """The symbol and exchange as we write them; an empty symbol is one that cannot be."""
    symbol = ticker.strip().upper()
    named = DELAYED.sub("", (exchange or "").strip().upper()) or None
    if perpetual := CCXT_PERPETUAL.match(symbol):
        return f"{perpetual[1]}{perpetual[2]}.P", named
    prefix, colon, rest = symbol.rpartition(":")
    if colon:
        prefix, symbol = DELAYED.sub("", prefix.strip()), rest.strip()
        if named not in (None, prefix):
            return "", None  # It names two exchanges.
        named = prefix
    return SEPARATORS.sub("", symbol), named


def _choose(listed: list[Instrument], exchange: str | None) -> Instrument | None:
    if exchange is None:
        return listed[0] if len(listed) == 1 else None
    for instrument in listed:
        if instrument.exchange == exchange:
            return instrument
    stocks = [
        instrument
        for instrument in listed
        if instrument.exchange in US_STOCKS
        and instrument.asset_class == Instrument.AssetClass.STOCK
    ]
    return stocks[0] if exchange in US_STOCKS and len(stocks) == 1 else None


def quote(instrument_id: UUID) -> Quote | None:
    """The instrument's newest price and forming bar; None before its first."""
    return Quote.objects.filter(instrument_id=instrument_id).first()


def quotes(instrument_ids: Collection[UUID]) -> dict[UUID, Quote]:
    """``quote`` for many instruments; those without a price yet are absent."""
    found = Quote.objects.filter(instrument_id__in=instrument_ids)
    return {each.instrument_id: each for each in found}


def last_prices(instrument_ids: Collection[UUID]) -> dict[UUID, Decimal]:
    """The newest price of each instrument that has one, quote currency per unit."""
    return dict(Quote.objects.filter(pk__in=instrument_ids).values_list("pk", "price"))


def last_closed_times(instrument_ids: Collection[UUID], interval_s: int) -> dict[UUID, datetime]:
    """Open time of each instrument's newest closed bar in the hot tail."""
    newest = (
        Bar.objects.filter(instrument__in=instrument_ids, interval_s=interval_s)
        .values("instrument_id")
        .annotate(last=Max("opened_at"))
    )
    return {row["instrument_id"]: row["last"] for row in newest}


def latest_bars(
    instrument_id: UUID, interval_s: int, n: int, *, end: datetime | None = None
) -> Bars:
    """The newest ``n`` closed bars, oldest first; fewer where history is shorter.

    Args:
        end: the first open that is too late.

    Raises:
        Invalid: bars of this interval are neither kept nor can they be made of those that are.
    """
    history = _History(instrument_id, interval_s)
    before = None if end is None else to_ns(end)
    if history.is_kept_as_asked:
        return _joined(instrument_id, interval_s, None, before, n)
    # Gaps make it unknown how far back n bars reach, so we look twice as far until they do.
    newest = min(history.complete_until, before or history.complete_until)
    span_ns = 2 * (n + 1) * history.step
    while True:
        bars = history.between(newest - span_ns, before)
        if len(bars) >= n or newest - span_ns <= history.first:
            return _tail(bars, n)
        span_ns *= 2


def bars_between(
    instrument_id: UUID,
    interval_s: int,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Bars:
    """The closed bars that open in [start, end), oldest first.

    Longer bars than those kept are made of them: hours and days of UTC.

    Raises:
        Invalid: bars of this interval are neither kept nor can they be made of those that are.
    """
    history = _History(instrument_id, interval_s)
    return history.between(
        None if start is None else to_ns(start), None if end is None else to_ns(end)
    )


def kept_intervals(instrument_id: UUID) -> list[int]:
    """The intervals of which closed bars are kept, seconds, shortest first."""
    return sorted({*store.intervals(instrument_id), *_tail_intervals(instrument_id)})


def _tail_intervals(instrument_id: UUID) -> Iterator[int]:
    # One look into the index for each: a DISTINCT would read the whole tail.
    rows = Bar.objects.filter(instrument_id=instrument_id).order_by("interval_s")
    intervals = rows.values_list("interval_s", flat=True)
    found = intervals.first()
    while found is not None:
        yield found
        found = intervals.filter(interval_s__gt=found).first()


class _History:
    """Where an instrument's bars of one interval come from."""

    def __init__(self, instrument_id: UUID, interval_s: int) -> None:
        self.instrument_id = instrument_id
        self.interval_s = interval_s
        self.step = interval_s * SECOND_NS
        kept = kept_intervals(instrument_id)
        self.sources = [each for each in reversed(kept) if interval_s % each == 0]
        if kept and not self.sources:
            raise Invalid(
                f"bars of {interval_s} s cannot be made of those kept ({_seconds(kept)})",
                hint="Ask for a multiple of a kept interval.",
            )

    @property
    def is_kept_as_asked(self) -> bool:
        return self.sources == [self.interval_s]

    def between(self, start: int | None, end: int | None) -> Bars:
        """Closed bars from the longest source that has them."""
        found = NO_BARS
        for source_s in self.sources:
            found = _union(found, self._made_of(source_s, start, end))
        return found

    def _made_of(self, source_s: int, start: int | None, end: int | None) -> Bars:
        if source_s == self.interval_s:
            return _joined(self.instrument_id, source_s, start, end, None)
        # Asked before the bars: what is complete by then is among them.
        until = self.complete_until
        first = None if start is None else -(-start // self.step) * self.step
        behind = None if end is None else -(-end // self.step) * self.step
        source = _joined(self.instrument_id, source_s, first, behind, None)
        return resample(source, self.step, until=until)

    @cached_property
    def complete_until(self) -> int:
        """Nothing that opens before this, ns UTC, can still come."""
        until = [0]
        # A forming bar says that all before it is there; without one the last bar does.
        if (newest := quote(self.instrument_id)) is not None:
            forming_s = 0 if newest.is_forming else newest.interval_s
            until.append(to_ns(newest.opened_at) + forming_s * SECOND_NS)
        for source_s in self.sources:
            last = _joined(self.instrument_id, source_s, None, None, 1)
            until += [int(time) + source_s * SECOND_NS for time in last.time]
        calendar = Instrument.objects.values_list("calendar", flat=True).get(pk=self.instrument_id)
        # A closed market adds nothing until it opens again.
        return sessions.next_open_ns(calendar, max(until))

    @cached_property
    def first(self) -> int:
        """The oldest kept bar's open, ns UTC."""
        return min((_oldest(self.instrument_id, each) for each in self.sources), default=0)


def _tail(bars: Bars, n: int) -> Bars:
    return bars[max(0, len(bars) - n) :]


def _seconds(intervals: Iterable[int]) -> str:
    return ", ".join(f"{each} s" for each in intervals)


def _joined(
    instrument_id: UUID, interval_s: int, start: int | None, end: int | None, last: int | None
) -> Bars:
    """Store and hot tail as one: each bar once, none missing.

    The tail is read first. Compaction stores bars before it deletes them from the tail, so what
    it moves meanwhile is seen twice, and counted once, but never missed.
    """
    tail = hot_bars(instrument_id, interval_s, start, end, last)
    stored = store.read(instrument_id, interval_s, start=start, end=end, last=last)
    joined = _union(stored, tail)
    return joined if last is None else _tail(joined, last)


def hot_bars(
    instrument_id: UUID,
    interval_s: int,
    start: int | None = None,
    end: int | None = None,
    last: int | None = None,
) -> Bars:
    """The closed bars of the hot tail alone; times in ns UTC."""
    rows = _tail_rows(instrument_id, interval_s)
    if start is not None:
        rows = rows.filter(opened_at__gte=to_datetime(start))
    if end is not None:
        rows = rows.filter(opened_at__lt=to_datetime(end))
    newest_first = rows.order_by("-opened_at").values_list(
        "opened_at",
        *(Cast(name, FloatField()) for name in ("open", "high", "low", "close", "volume")),
    )
    found = list(newest_first if last is None else newest_first[:last])[::-1]
    if not found:
        return NO_BARS
    times, *prices = zip(*found, strict=True)
    return Bars(
        np.array([to_ns(at) for at in times], np.int64),
        *(np.array(column, np.float64) for column in prices),
    )


def _tail_rows(instrument_id: UUID, interval_s: int) -> "QuerySet[Bar]":
    return Bar.objects.filter(instrument_id=instrument_id, interval_s=interval_s)


def _oldest(instrument_id: UUID, interval_s: int) -> int:
    rows = _tail_rows(instrument_id, interval_s).order_by("opened_at")
    hot = [to_ns(at) for at in rows.values_list("opened_at", flat=True)[:1]]
    if found := store.held(instrument_id, interval_s):
        hot.append(found.first)
    return min(hot)


def _union(first: Bars, second: Bars) -> Bars:
    """All bars of the first, and those of the second at other times."""
    if len(first) == 0 or len(second) == 0:
        return second if len(first) == 0 else first
    if second.time[0] <= first.time[-1]:
        second = _without(second, first)
        if len(second) == 0:
            return first
    columns = [
        np.concatenate([getattr(first, name), getattr(second, name)]) for name in store.COLUMNS
    ]
    if second.time[0] < first.time[-1]:
        order = np.argsort(columns[0], kind="stable")
        columns = [column[order] for column in columns]
    return Bars(*columns)


def _without(bars: Bars, others: Bars) -> Bars:
    place = np.minimum(np.searchsorted(others.time, bars.time), len(others) - 1)
    new = others.time[place] != bars.time
    return Bars(*(getattr(bars, name)[new] for name in store.COLUMNS))
