"""What can be done to market data besides the feed: list an instrument, compact, set up a demo."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Max

from apps.core.errors import Invalid
from apps.core.tenancy import acting_across
from apps.marketdata import replay as replays
from apps.marketdata import selectors, sessions, store
from apps.marketdata.models import Bar, Instrument, Replay
from apps.marketdata.sessions import to_datetime, to_ns
from ml.bars import DAY_NS

INTERVAL = re.compile(r"^(\d+)\s*(s|m|h|d|w)$")
UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def interval_seconds(written: str) -> int:
    """``1m``, ``15m``, ``4h``, ``1d`` in seconds.

    Raises:
        Invalid: it is not an interval.
    """
    found = INTERVAL.match(written.strip().lower())
    if found is None or int(found[1]) == 0:
        raise Invalid(f"{written!r} is not an interval", hint="Write 1m, 15m, 1h, 4h, 1d.")
    return int(found[1]) * UNIT_S[found[2]]


def list_instrument(
    *,
    symbol: str,
    exchange: str,
    asset_class: str,
    name: str = "",
    currency: str = "USD",
    tick_size: Decimal = Decimal("0.01"),
    lot_size: Decimal = Decimal(1),
    calendar: str = sessions.ALWAYS,
    **details: Any,
) -> tuple[Instrument, bool]:
    """The instrument of this symbol and exchange, made if it is new; and whether it was.

    Inside ``acting_across``. One that exists is left as it is.

    Raises:
        Invalid: there is no such calendar or asset class.
    """
    if asset_class not in Instrument.AssetClass.values:
        raise Invalid(
            f"there is no asset class {asset_class!r}", hint=", ".join(Instrument.AssetClass.values)
        )
    sessions.check_calendar(calendar)
    return Instrument.objects.get_or_create(
        symbol=symbol.upper(),
        exchange=exchange.upper(),
        defaults={
            "name": name or f"{exchange.upper()}:{symbol.upper()}",
            "asset_class": asset_class,
            "currency": currency.upper(),
            "tick_size": tick_size,
            "lot_size": lot_size,
            "calendar": calendar,
            **details,
        },
    )


@dataclass(frozen=True)
class Compacted:
    """What one compaction moved of one instrument and interval.

    Attributes:
        conflicting: bars whose time the store holds with other values; they stay in the tail.
    """

    instrument_id: UUID
    interval_s: int
    moved: int
    conflicting: int


def compact(*, keep: timedelta) -> list[Compacted]:
    """Move closed bars from the hot tail into the bar store.

    A bar is deleted from the tail only when the store has it on the disk. Running it twice, or
    dying in the middle, moves nothing twice and loses nothing.

    Args:
        keep: so much of the tail stays, counted back from each instrument's newest bar.
    """
    with acting_across("compaction"):
        tails = list(
            Bar.objects.values_list("instrument_id", "interval_s")
            .annotate(newest=Max("opened_at"))
            .order_by("instrument_id", "interval_s")
        )
    return [
        _compact_tail(instrument_id, interval_s, newest - keep)
        for instrument_id, interval_s, newest in tails
    ]


def _compact_tail(instrument_id: UUID, interval_s: int, before: datetime) -> Compacted:
    with acting_across("compaction"):
        bars = selectors.hot_bars(instrument_id, interval_s, end=to_ns(before))
        merged = store.merge(instrument_id=instrument_id, interval_s=interval_s, bars=bars)
        refused = [to_datetime(int(bars.time[row])) for row in merged.refused]
        rows = Bar.objects.filter(
            instrument_id=instrument_id, interval_s=interval_s, opened_at__lt=before
        )
        moved, _ = rows.exclude(opened_at__in=refused).delete()
    return Compacted(instrument_id, interval_s, moved, len(refused))


@dataclass(frozen=True)
class DemoInstrument:
    """One of the demo market's instruments."""

    symbol: str
    name: str
    asset_class: Instrument.AssetClass
    tick_size: Decimal
    lot_size: Decimal
    fee_rate: Decimal
    seed: int


# What the feed's process leaves in the hot tail, in market time.
HOT = timedelta(days=2)

DEMO_EXCHANGE = "DEMO"
DEMO_HISTORY = timedelta(days=3)
# A bar a second.
DEMO_SPEED = 60.0
DEMO_MARKET = (
    DemoInstrument(
        "BTCUSD",
        "Bitcoin / US dollar (made up)",
        Instrument.AssetClass.CRYPTO,
        Decimal("0.5"),
        Decimal("0.0001"),
        Decimal("0.001"),
        seed=21,
    ),
    DemoInstrument(
        "EURUSD",
        "Euro / US dollar (made up)",
        Instrument.AssetClass.FOREX,
        Decimal("0.00001"),
        Decimal(1000),
        Decimal("0.00002"),
        seed=73,
    ),
)


def ensure_demo_market(now: datetime) -> list[Instrument]:
    """The demo market, set going if it is not there: three days of history, then a live replay.

    Opens its own ``acting_across``; calling it again changes nothing.
    """
    with acting_across("demo market"):
        instruments = [_ensure_demo_instrument(demo, now) for demo in DEMO_MARKET]
        silent = list(
            Replay.objects.filter(instrument__in=instruments, instrument__quote__isnull=True)
        )
    # A first price, so that the line that `make run` prints can be sent before the feed has begun.
    if silent:
        replays.step_all(silent)
    return instruments


def _ensure_demo_instrument(demo: DemoInstrument, now: datetime) -> Instrument:
    instrument, _ = list_instrument(
        symbol=demo.symbol,
        exchange=DEMO_EXCHANGE,
        asset_class=demo.asset_class,
        name=demo.name,
        tick_size=demo.tick_size,
        lot_size=demo.lot_size,
        fee_rate=demo.fee_rate,
        slippage_ticks=1,
    )
    if not Replay.objects.filter(instrument=instrument).exists():
        starts_at = now.replace(second=0, microsecond=0)
        replay = Replay(
            instrument=instrument,
            source=Replay.Source.SYNTHETIC,
            speed=DEMO_SPEED,
            starts_at=starts_at,
            position=starts_at,
            seed=demo.seed,
        )
        _store_history(replay, starts_at - DEMO_HISTORY)
        replay.save()
    return instrument


def _store_history(replay: Replay, since: datetime) -> None:
    start, end = to_ns(since), to_ns(replay.starts_at)
    for day in range(start // DAY_NS, end // DAY_NS + 1):
        bars = replays.made_up(replay, day)
        inside = bars[int((bars.time < start).sum()) : int((bars.time < end).sum())]
        store.merge(instrument_id=replay.instrument_id, interval_s=replay.interval_s, bars=inside)
