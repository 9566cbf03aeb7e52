"""Bars played as a live feed, four steps a bar; no step shows more than its moment would have.

One transaction is one step of each replay that is due. So a reader that is told of an open finds
that open, and a process that dies goes on with the step that was next.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Event
from time import monotonic

import numpy as np

from apps.core.tenancy import acting_across
from apps.marketdata import feed, store, synthetic
from apps.marketdata.feed import Kind, Message
from apps.marketdata.models import Instrument, Replay
from apps.marketdata.sessions import to_datetime, to_ns
from ml.bars import DAY_NS, Bar, Bars

logger = logging.getLogger(__name__)

# Open, the nearer extreme, the farther one, close: spread evenly over the bar.
STEPS = 4
DECIMAL_PLACES = Decimal("1e-10")
# How long the feed sleeps at most, and how often it looks for replays started and stopped.
NAP_S, LOOK_S, HOUR_S = 0.25, 1.0, 3600.0
# Behind by more than this (a paused machine), the market goes on from where it stopped.
PATIENCE_S = 5.0


def play(
    instrument: Instrument,
    bars: Bars,
    *,
    interval_s: int,
    after: Callable[[Message], None] = lambda message: None,
) -> int:
    """Feed bars as fast as the database takes them, a transaction a step; returns the steps.

    Args:
        after: called when a step is committed, so that a test can act between two of them.
    """
    count = 0
    for message in messages(instrument, bars, interval_s=interval_s):
        with acting_across("feed"):
            feed.write([message])
        after(message)
        count += 1
    return count


def messages(instrument: Instrument, bars: Bars, *, interval_s: int) -> Iterator[Message]:
    """What a feed would have said while these bars formed."""
    for row in range(len(bars)):
        for step in range(STEPS):
            yield message_of(instrument, bars[row], step, interval_s=interval_s)


def message_of(instrument: Instrument, bar: Bar, step: int, *, interval_s: int) -> Message:
    """What a feed would have said at one step of a bar: one price, and the volume until then."""
    opened_at = to_datetime(bar.time)
    return Message(
        kind=(Kind.OPEN, Kind.TICK, Kind.TICK, Kind.CLOSE)[step],
        instrument_id=instrument.pk,
        opened_at=opened_at,
        price=_decimal(assumed_path(bar)[step]),
        at=opened_at + _offset(interval_s, step),
        interval_s=interval_s,
        volume=_decimal(bar.volume * step / (STEPS - 1)),
    )


def assumed_path(bar: Bar) -> tuple[float, float, float, float]:
    """The order in which a bar's prices are taken to have come: the nearer extreme first.

    Source:
        TradingView, Pine Script user manual, "Strategies", broker emulator.
    """
    if bar.high - bar.open < bar.open - bar.low:
        return bar.open, bar.high, bar.low, bar.close
    return bar.open, bar.low, bar.high, bar.close


def advance(replay: Replay, until: datetime) -> int:
    """Play everything that happens up to a market time, a transaction a step.

    Returns:
        How many steps were played; fewer than due when the stored bars end, which stops it.
    """
    count = 0
    while replay.is_running and due_at(replay) <= until:
        count += step_all([replay])
    return count


def due_at(replay: Replay) -> datetime:
    """Market time of the replay's next step."""
    return replay.position + _offset(replay.interval_s, replay.step)


def step_all(replays: Sequence[Replay]) -> int:
    """Play the next step of each replay, in one transaction; returns how many had one.

    Where a replay stands is written with what it said: it is resumed without gap or repeat. The
    objects given are brought up to date.
    """
    with acting_across("feed"):
        rows = Replay.objects.select_for_update(of=("self",)).select_related("instrument")
        current = rows.order_by("pk").in_bulk([replay.pk for replay in replays])
        said = [message for row in current.values() if (message := _next_message(row))]
        feed.write(said)
        Replay.objects.bulk_update(current.values(), ["position", "step", "is_running"])
    for replay in replays:
        now = current[replay.pk]
        replay.position, replay.step, replay.is_running = now.position, now.step, now.is_running
    return len(said)


def _next_message(replay: Replay) -> Message | None:
    """What the replay says next; it is moved behind that, or stopped when there is nothing."""
    bar = _bar_from(replay, replay.position) if replay.is_running else None
    if bar is None:
        replay.is_running = False
        return None
    message = message_of(replay.instrument, bar, replay.step, interval_s=replay.interval_s)
    # Where the stored bars have a gap, the market's time jumps over it.
    replay.position = message.opened_at
    replay.step += 1
    if replay.step == STEPS:
        replay.step = 0
        replay.position += timedelta(seconds=replay.interval_s)
    return message


def _bar_from(replay: Replay, position: datetime) -> Bar | None:
    """The replay's first bar that opens at or after a market time."""
    time = to_ns(position)
    if replay.origin_id is None:  # Only synthetic ones have none: the database sees to it.
        bars = made_up(replay, time // DAY_NS)
        row = int(np.searchsorted(bars.time, time))
        return bars[row] if row < len(bars) else made_up(replay, time // DAY_NS + 1)[0]
    # A gap is rarely longer than a day; only then is all that follows looked at.
    bars = store.read(replay.origin_id, replay.interval_s, start=time, end=time + DAY_NS)
    if len(bars) == 0:
        bars = store.read(replay.origin_id, replay.interval_s, start=time)
    return bars[0] if len(bars) else None


def made_up(replay: Replay, day: int) -> Bars:
    """One day of a synthetic replay's market; ``day`` counts from 1970."""
    instrument = replay.instrument
    return synthetic.day(
        instrument.asset_class,
        float(instrument.tick_size),
        replay.interval_s,
        replay.seed,
        day,
    )


def _offset(interval_s: int, step: int) -> timedelta:
    return timedelta(seconds=interval_s) * step / (STEPS - 1)


def _decimal(value: float) -> Decimal:
    # The shortest decimal that is this float, as the source had it.
    return Decimal(repr(value)).quantize(DECIMAL_PLACES)


@dataclass
class Pace:
    """How a replay's market time follows the wall clock since it was last set going."""

    market: datetime
    wall_s: float
    speed: float

    def wait_s(self, due: datetime, wall_s: float) -> float:
        """Seconds until a market time is due; negative when it is late."""
        if self.speed == 0:
            return 0.0
        return self.wall_s + (due - self.market).total_seconds() / self.speed - wall_s


def run(
    stop: Event,
    *,
    clock: Callable[[], float] = monotonic,
    every_hour: Callable[[], object] = lambda: None,
) -> None:
    """Play all running replays at their speeds until told to stop.

    Args:
        clock: seconds of the wall clock; only differences count.
        every_hour: what else this process does, between two steps; first after an hour.
    """
    paces: dict[object, Pace] = {}
    replays: list[Replay] = []
    looked_at, tidied_at = -math.inf, clock()
    while not stop.is_set():
        now = clock()
        if now - looked_at >= LOOK_S:
            replays, looked_at = _running(), now
        if now - tidied_at >= HOUR_S:
            every_hour()
            tidied_at = now
        due, wait_s = _due(replays, paces, now)
        if due:
            _step_or_stop(due)
        else:
            stop.wait(min(wait_s, NAP_S))


def _step_or_stop(due: list[Replay]) -> None:
    """Play a step of each; one that contradicts what is stored stops, and the others go on."""
    try:
        step_all(due)
    except feed.OutOfOrder:
        for replay in due:
            try:
                step_all([replay])
            except feed.OutOfOrder as refusal:
                logger.error("replay of %s stopped: %s", replay.instrument, refusal.message)
                replay.is_running = False
                with acting_across("feed"):
                    replay.save(update_fields=["is_running"])


def _running() -> list[Replay]:
    with acting_across("feed"):
        running = Replay.objects.filter(is_running=True, instrument__is_active=True)
        return list(running.select_related("instrument").order_by("pk"))


def _due(
    replays: list[Replay], paces: dict[object, Pace], now: float
) -> tuple[list[Replay], float]:
    """The replays with a step that is due, and how long the others can wait, seconds."""
    due, shortest = [], NAP_S
    for replay in replays:
        if not replay.is_running:
            continue
        pace = paces.get(replay.pk)
        wait_s = pace.wait_s(due_at(replay), now) if pace else -math.inf
        if pace is None or pace.speed != replay.speed or wait_s < -PATIENCE_S:
            paces[replay.pk] = Pace(due_at(replay), now, replay.speed)
            wait_s = 0.0
        if wait_s <= 0.0:
            due.append(replay)
        shortest = min(shortest, wait_s)
    return due, max(shortest, 0.0)
