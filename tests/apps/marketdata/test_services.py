from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from apps.core.errors import Invalid
from apps.core.tenancy import acting_across
from apps.marketdata import replay, selectors, services, store
from apps.marketdata.models import Bar, Instrument, Replay
from apps.marketdata.sessions import to_ns
from ml.bars import MINUTE_NS, Bars
from tests.apps.marketdata.market import MONDAY, NOON, make_bars, same


class TestIntervalSeconds:
    @pytest.mark.parametrize(
        ("written", "seconds"), [("1m", 60), ("15M", 900), ("4h", 14_400), ("1d", 86_400)]
    )
    def test_it_reads_the_fields_way_to_write_them(self, written: str, seconds: int) -> None:
        assert services.interval_seconds(written) == seconds

    @pytest.mark.parametrize("written", ["", "m", "0m", "1", "1.5h", "-1m", "1y"])
    def test_what_is_none_is_refused(self, written: str) -> None:
        with pytest.raises(Invalid):
            services.interval_seconds(written)


class TestListInstrument:
    def test_it_is_made_once(self, ops: None) -> None:
        first, is_new = services.list_instrument(
            symbol="btcusd", exchange="Bitfinex", asset_class="crypto"
        )
        second, is_new_again = services.list_instrument(
            symbol="BTCUSD", exchange="BITFINEX", asset_class="crypto", tick_size=Decimal(9)
        )

        assert (is_new, is_new_again, first) == (True, False, second)
        assert Instrument.objects.get().tick_size == Decimal("0.01")

    @pytest.mark.parametrize(
        "wrong", [{"asset_class": "art", "calendar": "24/7"}, {"calendar": "NOWHERE"}]
    )
    def test_what_nobody_keeps_is_refused(self, ops: None, wrong: dict[str, Any]) -> None:
        with pytest.raises(Invalid):
            services.list_instrument(
                symbol="X", exchange="Y", **({"asset_class": "crypto"} | wrong)
            )

        assert not Instrument.objects.exists()


class TestCompact:
    def test_older_bars_move_and_history_stays_the_same(self, bitcoin: Instrument) -> None:
        bars = make_bars(range(10))
        replay.play(bitcoin, bars, interval_s=60)

        done = services.compact(keep=timedelta(minutes=3))

        assert done == [services.Compacted(bitcoin.pk, 60, moved=6, conflicting=0)]
        assert Bar.objects.count() == 4
        assert same(store.read(bitcoin.pk, 60), bars[:6])
        assert same(selectors.bars_between(bitcoin.pk, 60), bars)

    def test_a_second_time_moves_nothing(self, bitcoin: Instrument) -> None:
        replay.play(bitcoin, make_bars(range(3)), interval_s=60)
        services.compact(keep=timedelta(minutes=1))

        (again,) = services.compact(keep=timedelta(minutes=1))

        assert again.moved == 0

    def test_death_between_storing_and_deleting_moves_nothing_twice(
        self, bitcoin: Instrument, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bars = make_bars(range(5))
        replay.play(bitcoin, bars, interval_s=60)
        real = store.merge

        def die_after(**arguments: object) -> None:
            real(**arguments)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(store, "merge", die_after)
            with pytest.raises(KeyboardInterrupt):
                services.compact(keep=timedelta(0))
        assert Bar.objects.count() == 5
        assert same(selectors.bars_between(bitcoin.pk, 60), bars)

        services.compact(keep=timedelta(0))
        assert Bar.objects.count() == 1
        assert same(selectors.bars_between(bitcoin.pk, 60), bars)

    def test_a_bar_that_contradicts_the_store_stays_to_be_seen(self, bitcoin: Instrument) -> None:
        bars = make_bars(range(4))
        replay.play(bitcoin, bars, interval_s=60)
        one = bars[1:2]
        other = Bars(one.time, one.open, one.high + 5, one.low, one.close, one.volume)
        store.merge(instrument_id=bitcoin.pk, interval_s=60, bars=other)

        (done,) = services.compact(keep=timedelta(0))

        assert (done.moved, done.conflicting) == (2, 1)
        assert Bar.objects.count() == 2


class TestDemoMarket:
    def test_it_has_three_days_behind_it_and_goes_on_from_there(self, database: None) -> None:
        bitcoin, euro = services.ensure_demo_market(NOON)

        assert [str(bitcoin), str(euro)] == ["DEMO:BTCUSD", "DEMO:EURUSD"]
        for running in Replay.objects.select_related("instrument"):
            history = selectors.bars_between(running.instrument_id, 60)
            assert len(history) == 3 * 1440
            assert history.time[-1] == to_ns(NOON) - MINUTE_NS
            replay.advance(running, NOON + timedelta(minutes=3))
            whole = selectors.bars_between(running.instrument_id, 60)
            assert len(whole) == 3 * 1440 + 3
            assert (np.diff(whole.time) == MINUTE_NS).all()
            assert whole.open[-3] == whole.close[-4]

    def test_a_second_time_changes_nothing(self, database: None) -> None:
        services.ensure_demo_market(NOON)
        before = list(Replay.objects.order_by("pk").values())

        services.ensure_demo_market(NOON + timedelta(days=5))

        assert list(Replay.objects.order_by("pk").values()) == before
        assert Instrument.objects.count() == 2

    def test_what_the_operator_stopped_stays_stopped(self, database: None) -> None:
        services.ensure_demo_market(NOON)
        with acting_across("test"):
            Replay.objects.update(is_running=False)

        services.ensure_demo_market(NOON)

        assert not Replay.objects.filter(is_running=True).exists()


def test_monday_is_a_monday() -> None:
    assert NOON.weekday() == 0
    assert to_ns(NOON) - MONDAY == 12 * 60 * MINUTE_NS
