import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from apps.core.tenancy import acting_across
from apps.marketdata import feed, replay, selectors, store, synthetic
from apps.marketdata.feed import Kind, Message
from apps.marketdata.models import Bar, Instrument, Quote, Replay
from apps.marketdata.sessions import to_datetime
from ml.bars import DAY_NS, MINUTE_NS, Bars
from ml.bars import Bar as MlBar
from tests.apps.marketdata.market import MONDAY, ROOT, make_bars, make_instrument, same
from tests.stage import STAGE

MINUTE = timedelta(minutes=1)
START = to_datetime(MONDAY)


def start_replay(instrument: Instrument, **details: Any) -> Replay:
    values: dict[str, Any] = {
        "source": "synthetic",
        "seed": 7,
        "starts_at": START,
        "position": START,
    }
    with acting_across("test"):
        return Replay.objects.create(instrument=instrument, **(values | details))


def replay_of_stored(bars: Bars, **details: Any) -> Replay:
    """A replay of another instrument's stored bars."""
    with acting_across("test"):
        origin = make_instrument("ORIGIN", "STORED")
        played = make_instrument("PLAYED", "DEMO")
    store.merge(instrument_id=origin.pk, interval_s=60, bars=bars)
    return start_replay(played, source="store", seed=0, origin=origin, **details)


class TestAssumedPath:
    def test_the_nearer_extreme_comes_first(self) -> None:
        assert replay.assumed_path(MlBar(0, 10, 12, 5, 11)) == (10, 12, 5, 11)
        assert replay.assumed_path(MlBar(0, 10, 15, 9, 11)) == (10, 9, 15, 11)

    def test_of_equally_near_ones_the_low_comes_first(self) -> None:
        assert replay.assumed_path(MlBar(0, 10, 12, 8, 11)) == (10, 8, 12, 11)


class TestMessages:
    def test_no_step_shows_a_price_before_its_turn(self, bitcoin: Instrument) -> None:
        bars = make_bars(range(30))
        seen: list[Message] = []
        for message in replay.messages(bitcoin, bars, interval_s=60):
            seen.append(message)
            bar = bars[(len(seen) - 1) // 4]
            shown = [float(each.price) for each in seen[(len(seen) - 1) // 4 * 4 :]]
            path = replay.assumed_path(bar)[: len(shown)]
            # What is known of the bar is its path so far, and nothing of its extremes ahead.
            assert tuple(shown) == path
            assert message.volume is not None
            assert float(message.volume) <= bar.volume * (len(shown) - 1) / 3 + 1e-9

    def test_market_time_never_goes_back_and_stays_in_the_bar(self, bitcoin: Instrument) -> None:
        messages = list(replay.messages(bitcoin, make_bars(range(5)), interval_s=60))

        times = [message.at for message in messages]
        assert times == sorted(times)
        assert all(m.opened_at <= m.at <= m.opened_at + MINUTE for m in messages)
        assert [m.kind for m in messages[:4]] == [Kind.OPEN, Kind.TICK, Kind.TICK, Kind.CLOSE]


class TestPlay:
    def test_what_was_played_is_what_was_given(self, bitcoin: Instrument) -> None:
        bars = make_bars([0, 1, 2, 5, 6])

        assert replay.play(bitcoin, bars, interval_s=60) == 20

        assert same(selectors.bars_between(bitcoin.pk, 60), bars)

    def test_each_step_is_committed_before_the_next(self, bitcoin: Instrument) -> None:
        bars = make_bars(range(3))
        known: list[tuple[float, float]] = []

        def look(message: Message) -> None:
            quote = selectors.quote(bitcoin.pk)
            assert quote is not None
            assert (quote.at, quote.price) == (message.at, message.price)
            known.append((float(quote.high), float(quote.low)))

        replay.play(bitcoin, bars, interval_s=60, after=look)

        for row in range(3):
            path = replay.assumed_path(bars[row])
            for step in range(4):
                sofar = path[: step + 1]
                assert known[row * 4 + step] == (max(sofar), min(sofar))


class TestAdvance:
    def test_it_plays_what_is_due_and_stops_there(self, bitcoin: Instrument) -> None:
        running = start_replay(bitcoin)

        count = replay.advance(running, START + 2 * MINUTE)

        assert count == 9  # Two bars, and the open of the third at the same moment.
        assert Bar.objects.count() == 2
        quote = Quote.objects.get()
        assert (quote.opened_at, quote.is_forming) == (START + 2 * MINUTE, True)
        assert replay.advance(running, START + 2 * MINUTE) == 0

    def test_a_restart_in_any_place_goes_on_without_gap_or_repeat(
        self, bitcoin: Instrument
    ) -> None:
        running = start_replay(bitcoin)
        for second in (10, 25, 45, 60, 130, 139, 200, 300):
            replay.advance(running, START + timedelta(seconds=second))
            # Only what is in the database survives a restart.
            running = Replay.objects.select_related("instrument").get()

        whole = replay.made_up(running, MONDAY // DAY_NS)
        assert same(selectors.bars_between(bitcoin.pk, 60), whole[:5])

    def test_a_step_that_fails_leaves_no_trace(
        self, bitcoin: Instrument, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        running = start_replay(bitcoin)
        replay.advance(running, START)
        told: list[object] = []

        def die(*_: object) -> None:
            told.append(1)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(feed, "_tell", die)
            with pytest.raises(KeyboardInterrupt):
                replay.step_all([running])

        again = Replay.objects.select_related("instrument").get()
        assert (told, again.step) == ([1], 1)
        replay.advance(again, START + MINUTE)
        assert Bar.objects.count() == 1

    def test_stored_bars_are_played_over_their_gaps_to_their_end(self, database: None) -> None:
        bars = make_bars([0, 1, 4, 4000])
        running = replay_of_stored(bars)

        count = replay.advance(running, START + timedelta(days=30))

        assert count == 16
        assert same(selectors.bars_between(running.instrument_id, 60), bars)
        assert Replay.objects.get().is_running is False

    def test_readers_of_the_played_instrument_never_see_the_future(self, database: None) -> None:
        running = replay_of_stored(make_bars(range(50)))

        for second in range(0, 300, 20):
            now = START + timedelta(seconds=second)
            replay.advance(running, now)
            quote = selectors.quote(running.instrument_id)
            assert quote is not None
            assert quote.at <= now
            found = selectors.latest_bars(running.instrument_id, 60, 100)
            assert len(found) == second // 60
            assert len(selectors.bars_between(running.instrument_id, 60)) == second // 60

    def test_two_instruments_go_in_step(self, bitcoin: Instrument) -> None:
        with acting_across("test"):
            euro = make_instrument("EURUSD", asset_class="forex")
        both = [start_replay(bitcoin), start_replay(euro, seed=8)]

        for _ in range(8):
            assert replay.step_all(both) == 2

        assert sorted(Bar.objects.values_list("instrument_id", flat=True)) == sorted(
            [bitcoin.pk, bitcoin.pk, euro.pk, euro.pk]
        )


class TestRun:
    def test_it_keeps_its_pace(self, bitcoin: Instrument) -> None:
        start_replay(bitcoin, speed=60)
        stop = Clock(until=3.4)

        replay.run(stop, clock=stop.read)

        assert Bar.objects.count() == 3
        assert Quote.objects.get().opened_at == START + 3 * MINUTE

    def test_at_speed_zero_it_does_not_wait(self, bitcoin: Instrument) -> None:
        start_replay(bitcoin, speed=0)
        stop = Clock(until=0.2, creep=0.01)

        replay.run(stop, clock=stop.read)

        assert Bar.objects.count() >= 3

    def test_after_a_long_pause_the_market_goes_on_where_it_was(self, bitcoin: Instrument) -> None:
        start_replay(bitcoin, speed=60)
        stop = Clock(until=103.5, pause=(1.5, 100.0))

        replay.run(stop, clock=stop.read)

        # 100 seconds passed unseen, which would be 100 bars; three and a half were waited for.
        assert 2 <= Bar.objects.count() <= 4

    def test_one_that_contradicts_what_is_stored_stops_alone(self, bitcoin: Instrument) -> None:
        with acting_across("test"):
            euro = make_instrument("EURUSD", asset_class="forex")
            feed.open_bar(euro, START + MINUTE, euro.tick_size)
        start_replay(euro)
        start_replay(bitcoin)
        stop = Clock(until=1.2)

        replay.run(stop, clock=stop.read)

        assert Replay.objects.get(instrument=euro).is_running is False
        assert Bar.objects.filter(instrument=bitcoin).count() == 1

    def test_its_other_work_is_done_every_hour(self, database: None) -> None:
        stop, done = Clock(until=7300.0, creep=100.0), []

        replay.run(stop, clock=stop.read, every_hour=lambda: done.append(1))

        assert len(done) == 2


class Clock(Event):
    """A wall clock that waits in no time, and stops the feed at a moment."""

    def __init__(
        self, *, until: float, creep: float = 0.001, pause: tuple[float, float] | None = None
    ) -> None:
        super().__init__()
        self.pause = pause
        self.now, self.until, self.creep = 0.0, until, creep

    def read(self) -> float:
        self.now += self.creep
        if self.pause and self.now >= self.pause[0]:
            self.now += self.pause[1]
            self.pause = None
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        return self.is_set()

    def is_set(self) -> bool:
        return self.now >= self.until


class TestFeedProcess:
    def test_it_plays_and_stops_in_good_order_on_sigterm(
        self, bitcoin: Instrument, bar_store: Path
    ) -> None:
        start_replay(bitcoin, speed=600)
        process = subprocess.Popen(
            [sys.executable, "manage.py", "feed"],
            cwd=ROOT,
            env={**os.environ, **STAGE.environment(), "PINELAB_BARS": str(bar_store)},
            stdout=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + 60
            while Bar.objects.count() < 3:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()
            process.wait()

        running = Replay.objects.select_related("instrument").get()
        replay.advance(running, running.position + 2 * MINUTE)
        bars = selectors.bars_between(bitcoin.pk, 60)
        assert same(bars, replay.made_up(running, MONDAY // DAY_NS)[: len(bars)])

    def test_kill_9_leaves_no_gap_and_no_repeat(self, bitcoin: Instrument, bar_store: Path) -> None:
        start_replay(bitcoin, speed=0)
        for wanted in (5, 15):
            process = subprocess.Popen(
                [sys.executable, "manage.py", "feed"],
                cwd=ROOT,
                env={**os.environ, **STAGE.environment(), "PINELAB_BARS": str(bar_store)},
                stdout=subprocess.DEVNULL,
            )
            deadline = time.monotonic() + 60
            while Bar.objects.count() < wanted and time.monotonic() < deadline:
                time.sleep(0.02)
            process.kill()
            process.wait()

        bars = selectors.bars_between(bitcoin.pk, 60)
        running = Replay.objects.select_related("instrument").get()
        assert len(bars) >= 15
        assert same(bars, replay.made_up(running, MONDAY // DAY_NS)[: len(bars)])


class TestSyntheticMarket:
    def day(self, number: int = 19_000, *, asset_class: str = "crypto", seed: int = 7) -> Bars:
        tick = {"crypto": 0.5, "forex": 0.00001}.get(asset_class, 0.01)
        return synthetic.day(asset_class, tick, 60, seed, number)

    def test_it_is_the_same_each_time_and_another_with_another_seed(self) -> None:
        first = self.day()
        synthetic.day.cache_clear()

        assert same(first, self.day())
        assert not same(first, self.day(seed=8))

    @pytest.mark.parametrize("asset_class", ["crypto", "forex", "stock", "future", "index"])
    def test_each_bar_opens_where_the_last_one_closed_across_days(self, asset_class: str) -> None:
        days = [self.day(number, asset_class=asset_class) for number in range(19_000, 19_004)]
        opens = np.concatenate([day.open for day in days])
        closes = np.concatenate([day.close for day in days])

        # The join of two days is exact to a tick.
        step = {"crypto": 0.5, "forex": 0.00001}.get(asset_class, 0.01)
        assert np.abs(opens[1:] - closes[:-1]).max() <= step * 1.001

    def test_prices_lie_on_the_tick_as_their_decimals_do(self) -> None:
        euro = self.day(asset_class="forex")

        for column in (euro.open, euro.high, euro.low, euro.close):
            np.testing.assert_array_equal(column, np.round(column, 5))

    def test_it_moves_as_such_a_market_does_and_never_ends(self) -> None:
        closes = np.array([self.day(number).close[-1] for number in range(19_000, 19_200, 2)])
        moves = np.diff(np.log(closes))

        assert 30_000 < closes.min() < closes.max() < 120_000
        assert 0.01 < moves.std() < 0.08
        late = self.day(60_000)
        assert late.time[0] == 60_000 * DAY_NS
        assert len(late) == DAY_NS // MINUTE_NS
