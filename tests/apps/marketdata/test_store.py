import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from apps.marketdata import store
from ml.bars import MINUTE_NS, Bars
from tests.apps.marketdata.market import MONDAY, ROOT, make_bars, same

BITCOIN = UUID("00000000-0000-7000-8000-000000000001")
EURO = UUID("00000000-0000-7000-8000-000000000002")


def put(bars: Bars, **options: bool) -> store.Merged:
    return store.merge(instrument_id=BITCOIN, interval_s=60, bars=bars, **options)


def folder(bar_store: Path) -> Path:
    return bar_store / str(BITCOIN) / "60"


class TestRead:
    def test_what_was_stored_comes_back_to_the_last_bit(self) -> None:
        put(make_bars(range(500)))

        assert same(store.read(BITCOIN, 60), make_bars(range(500)))

    def test_nothing_stored_reads_as_no_bars(self) -> None:
        assert len(store.read(BITCOIN, 60)) == 0
        assert store.held(BITCOIN, 60) is None
        assert store.intervals(BITCOIN) == []
        assert list(store.contents()) == []

    def test_a_range_holds_its_start_and_not_its_end(self) -> None:
        put(make_bars(range(10)))

        found = store.read(BITCOIN, 60, start=MONDAY + 2 * MINUTE_NS, end=MONDAY + 5 * MINUTE_NS)

        assert same(found, make_bars([2, 3, 4]))

    def test_the_last_rows_are_the_newest(self) -> None:
        put(make_bars(range(10)))

        assert same(store.read(BITCOIN, 60, last=3), make_bars([7, 8, 9]))

    def test_nothing_is_copied(self) -> None:
        put(make_bars(range(100)))

        base: Any = store.read(BITCOIN, 60).close
        while isinstance(base.base, np.ndarray):
            base = base.base

        assert type(base.base).__name__ in ("mmap", "memoryview")

    def test_instruments_and_intervals_do_not_mix(self) -> None:
        put(make_bars([1]))
        store.merge(instrument_id=BITCOIN, interval_s=300, bars=make_bars([2]))
        store.merge(instrument_id=EURO, interval_s=60, bars=make_bars([3]))

        assert same(store.read(BITCOIN, 60), make_bars([1]))
        assert store.intervals(BITCOIN) == [60, 300]
        assert [(held.instrument_id, held.interval_s) for held in store.contents()] == [
            (BITCOIN, 60),
            (BITCOIN, 300),
            (EURO, 60),
        ]


class TestMerge:
    def test_what_is_stored_already_is_counted_and_stored_once(self) -> None:
        put(make_bars(range(10)))

        merged = put(make_bars(range(5, 15)))

        assert merged == store.Merged(stored=5, repeated=5, refused=())
        assert same(store.read(BITCOIN, 60), make_bars(range(15)))

    def test_older_bars_take_their_place_before_the_others(self) -> None:
        put(make_bars([10, 20]))

        put(make_bars([5, 15, 25]))

        assert same(store.read(BITCOIN, 60), make_bars([5, 10, 15, 20, 25]))

    def test_a_bar_with_other_values_is_refused_by_its_row(self) -> None:
        put(make_bars([1, 2]))
        other = make_bars([2, 3])
        other = Bars(other.time, other.open, other.high + 1, other.low, other.close, other.volume)

        merged = put(other)

        assert merged == store.Merged(stored=1, repeated=0, refused=(0,))
        assert store.read(BITCOIN, 60)[1] == make_bars([2])[0]

    def test_a_bar_with_other_values_replaces_when_asked(self) -> None:
        put(make_bars([1, 2]))
        other = make_bars([2])
        other = Bars(other.time, other.open, other.high + 1, other.low, other.close, other.volume)

        assert put(other, replace=True) == store.Merged(stored=1, repeated=0, refused=())
        assert store.read(BITCOIN, 60)[1] == other[0]

    def test_a_rewrite_leaves_no_old_files(self, bar_store: Path) -> None:
        put(make_bars([2]))
        put(make_bars([1]))

        assert len(list(folder(bar_store).glob("*.raw"))) == len(store.COLUMNS)

    def test_a_reader_keeps_what_it_had_while_the_files_change(self) -> None:
        put(make_bars([10]))
        before = store.read(BITCOIN, 60)

        put(make_bars([1]))
        put(make_bars([11]))

        assert same(before, make_bars([10]))

    # A counted row is never lost, repeated or moved, whatever is stored in whatever order.
    @hypothesis_settings(max_examples=40, deadline=None)
    @given(st.lists(st.sets(st.integers(0, 60), max_size=12), max_size=10), st.data())
    def test_it_agrees_with_a_plain_list(
        self, batches: list[set[int]], data: st.DataObject
    ) -> None:
        with TemporaryDirectory() as place, override_settings(BAR_STORE=Path(place)):
            plain: set[int] = set()
            for batch in batches:
                merged = put(make_bars(sorted(batch)))
                assert merged == store.Merged(len(batch - plain), len(batch & plain), ())
                plain |= batch
            start, end = sorted(data.draw(st.tuples(st.integers(0, 60), st.integers(0, 60))))
            found = store.read(
                BITCOIN, 60, start=MONDAY + start * MINUTE_NS, end=MONDAY + end * MINUTE_NS
            )
            wanted = sorted(each for each in plain if start <= each < end)
            assert same(found, make_bars(wanted))
            assert same(store.read(BITCOIN, 60), make_bars(sorted(plain)))
            if plain:
                store.verify(BITCOIN, 60)


class TestTornAppend:
    def test_bytes_behind_the_counted_rows_do_not_exist(self, bar_store: Path) -> None:
        put(make_bars(range(5)))
        for file in folder(bar_store).glob("*.raw"):
            with file.open("ab") as torn:
                torn.write(b"\xff" * 11)

        assert same(store.read(BITCOIN, 60), make_bars(range(5)))
        put(make_bars([5, 6]))
        assert same(store.read(BITCOIN, 60), make_bars(range(7)))
        store.verify(BITCOIN, 60)

    def test_a_half_written_manifest_does_not_count(self, bar_store: Path) -> None:
        put(make_bars(range(5)))
        (folder(bar_store) / "manifest.json.new").write_bytes(b'{"rows": 9')

        assert same(store.read(BITCOIN, 60), make_bars(range(5)))
        put(make_bars([5]))
        assert len(store.read(BITCOIN, 60)) == 6

    @pytest.mark.parametrize("second", [make_bars([5, 6]), make_bars([-2, 6])])
    @pytest.mark.parametrize("call", ["fsync", "replace", "open"])
    def test_a_failure_at_any_call_changes_nothing(
        self, second: Bars, call: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(make_bars(range(5)))
        allowed = 0
        while True:
            with monkeypatch.context() as patch:
                fail_after(patch, call, allowed)
                try:
                    put(second)
                except OSError:
                    pass
                else:
                    break
            assert len(store.read(BITCOIN, 60)) in (5, 7)
            store.verify(BITCOIN, 60)
            allowed += 1

        assert len(store.read(BITCOIN, 60)) == 7
        store.verify(BITCOIN, 60)

    def test_missing_bytes_are_damage_and_not_a_short_history(self, bar_store: Path) -> None:
        put(make_bars(range(5)))
        with next(folder(bar_store).glob("close.*")).open("r+b") as file:
            file.truncate(16)

        with pytest.raises(store.StoreDamaged, match="fewer than 5"):
            store.read(BITCOIN, 60)

    def test_a_flipped_bit_is_found(self, bar_store: Path) -> None:
        put(make_bars(range(5)))
        with next(folder(bar_store).glob("volume.*")).open("r+b") as file:
            file.write(b"\x01")

        with pytest.raises(store.StoreDamaged, match="volume"):
            store.verify(BITCOIN, 60)


def fail_after(patch: pytest.MonkeyPatch, call: str, allowed: int) -> None:
    """Let ``os.<call>`` work so often, then fail as a full disk does."""
    if not hasattr(os, call):
        raise ValueError(call)
    real: Callable[..., Any] = getattr(os, call)
    left = allowed

    def limited(*args: Any, **options: Any) -> Any:
        nonlocal left
        if left == 0:
            raise OSError(28, "No space left on device")
        left -= 1
        return real(*args, **options)

    patch.setattr(os, call, limited)


WRITER = """
import sys, django
from pathlib import Path
from uuid import UUID
from django.conf import settings
settings.configure(BAR_STORE=Path(sys.argv[1]), INSTALLED_APPS=["apps.marketdata"])
django.setup()
from apps.marketdata import store
from tests.apps.marketdata.market import make_bars
held = len(store.read(UUID(sys.argv[2]), 60))
while True:
    bars = make_bars(range(held, held + 400))
    store.merge(instrument_id=UUID(sys.argv[2]), interval_s=60, bars=bars)
    held += 400
    print(held, flush=True)
"""


class TestKilled:
    def test_kill_9_in_an_append_loses_nothing_that_was_reported(self, bar_store: Path) -> None:
        chance = random.Random(5)
        reported = 0
        for _ in range(8):
            reported = max(reported, self.write_and_die(bar_store, chance.uniform(0.0, 0.06)))

            found = store.read(BITCOIN, 60)
            assert len(found) >= reported
            assert same(found, make_bars(range(len(found))))
            store.verify(BITCOIN, 60)
        assert reported > 0

    def write_and_die(self, bar_store: Path, after_s: float) -> int:
        writer = subprocess.Popen(  # noqa: S603 (this test's own script)
            [sys.executable, "-c", WRITER, str(bar_store), str(BITCOIN)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout
        with writer.stdout:
            lines = [writer.stdout.readline()]
            time.sleep(after_s)
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.readlines()
        writer.wait()
        # A last line may have been cut off by the kill.
        return max(int(line) for line in lines if line.endswith("\n"))


class TestTogether:
    def test_readers_never_see_half_of_an_append(self) -> None:
        put(make_bars(range(10)))
        torn: list[int] = []

        def look() -> None:
            while writer.is_alive():
                found = store.read(BITCOIN, 60)
                if len(found) % 10 or not same(found, make_bars(range(-len(found) + 10, 10))):
                    torn.append(len(found))

        def write() -> None:
            # Each batch is older than all before: the rewrite, not the append.
            for batch in range(1, 30):
                put(make_bars(range(-10 * batch, -10 * batch + 10)))

        writer = Thread(target=write)
        writer.start()
        readers = [Thread(target=look) for _ in range(3)]
        for reader in readers:
            reader.start()
        for thread in [writer, *readers]:
            thread.join()

        assert torn == []
        assert len(store.read(BITCOIN, 60)) == 300

    def test_two_writers_wait_for_each_other(self) -> None:
        def write(first: int) -> None:
            for minute in range(first, 60, 2):
                put(make_bars([minute]))

        writers = [Thread(target=write, args=(first,)) for first in (0, 1)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()

        assert same(store.read(BITCOIN, 60), make_bars(range(60)))
        store.verify(BITCOIN, 60)
