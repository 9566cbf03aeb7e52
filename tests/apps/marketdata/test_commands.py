import json
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from apps.marketdata import replay, store
from apps.marketdata.models import Instrument
from tests.apps.marketdata.market import make_bars, real_file

FILE = """time,open,high,low,close,volume
2024-01-01T00:00Z,10,12,9,11,1
2024-01-01T00:01Z,10,9,9,11,1
2024-01-01T00:04Z,10,12,9,11,1
"""


def run(*words: object) -> str:
    out = StringIO()
    call_command(*map(str, words), stdout=out)
    return out.getvalue()


class TestImportBars:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        (tmp_path / "bars.csv").write_text(FILE)
        return tmp_path / "bars.csv"

    def arguments(self, file: Path, *more: object) -> tuple[object, ...]:
        return (
            "import_bars", file, "--symbol", "btcusd", "--exchange", "test", "--interval", "1m",
            *more,
        )  # fmt: skip

    def test_it_stores_and_tells_every_finding(self, bitcoin: Instrument, file: Path) -> None:
        said = run(*self.arguments(file))

        assert len(store.read(bitcoin.pk, 60)) == 2
        for line in (
            "rows read                              3",
            "bars stored                            2",
            "impossible bars                        1",
            "gaps in market hours                   1",
            "bars missing in those                  3",
            "  row 2: 2024-01-01T00:01Z, 10, 9, 9, 11, 1",
            "  2024-01-01T00:01:00Z to 2024-01-01T00:04:00Z: 3 bars",
        ):
            assert line in said.splitlines()

    def test_as_json_it_says_the_same(self, bitcoin: Instrument, file: Path) -> None:
        told: dict[str, Any] = json.loads(run(*self.arguments(file, "--json")))

        assert (told["rows"], told["stored"], told["rejected"], told["gaps"]) == (3, 2, 1, 1)

    def test_the_rejected_rows_lie_beside(
        self, bitcoin: Instrument, file: Path, tmp_path: Path
    ) -> None:
        run(*self.arguments(file, "--rejects", tmp_path / "rejects.csv"))

        assert (tmp_path / "rejects.csv").read_text().splitlines()[1:] == [
            "2,high_low,2024-01-01T00:01Z,10,9,9,11,1"
        ]

    def test_an_unknown_instrument_is_refused_with_the_way_out(
        self, database: None, file: Path
    ) -> None:
        with pytest.raises(CommandError, match=r"no instrument TEST:BTCUSD.*--create"):
            run(*self.arguments(file))

        assert not Instrument.objects.exists()

    def test_an_unknown_instrument_is_made_when_asked(self, database: None, file: Path) -> None:
        run(*self.arguments(file, "--create", "--asset-class", "crypto", "--tick-size", "0.1"))

        made = Instrument.objects.get()
        assert str(made) == "TEST:BTCUSD"
        assert len(store.read(made.pk, 60)) == 2

    def test_a_file_that_cannot_be_read_makes_no_instrument(
        self, database: None, tmp_path: Path
    ) -> None:
        with pytest.raises(CommandError, match="there is no file"):
            run(*self.arguments(tmp_path / "no.csv", "--create", "--asset-class", "crypto"))

        assert not Instrument.objects.exists()

    @pytest.mark.parametrize(
        "wrong", [("--interval", "soon"), ("--columns", "price=p"), ("--timezone", "Mars")]
    )
    def test_words_that_mean_nothing_are_refused(
        self, bitcoin: Instrument, file: Path, wrong: tuple[str, str]
    ) -> None:
        file.write_text(FILE.replace("Z", ""))
        with pytest.raises(CommandError):
            run(*self.arguments(file, *wrong))

        assert list(store.contents()) == []

    def test_real_euro_hours_go_through(self, database: None) -> None:
        path = real_file("fx_hourly/EURUSD_1h_oanda_bidask.csv.gz")

        said = run(
            "import_bars", path, "--symbol", "EURUSD", "--exchange", "OANDA", "--interval", "1h",
            "--create", "--asset-class", "forex", "--tick-size", "0.00001", "--calendar", "FX",
        )  # fmt: skip

        assert "gaps, any kind                       641" in said


class TestBars:
    def test_it_lists_store_and_tail(self, bitcoin: Instrument) -> None:
        store.merge(instrument_id=bitcoin.pk, interval_s=60, bars=make_bars(range(2000)))
        replay.play(bitcoin, make_bars([2000]), interval_s=60)

        lines = [line.split() for line in run("bars", "--verify").splitlines()[1:]]

        assert lines == [
            [
                "TEST:BTCUSD",
                "60s",
                "store",
                "2024-01-01T00:00:00Z",
                "2024-01-02T09:19:00Z",
                "2,000",
            ],
            ["TEST:BTCUSD", "60s", "tail", "2024-01-02T09:20:00Z", "2024-01-02T09:20:00Z", "1"],
        ]

    def test_it_compacts_when_asked(self, bitcoin: Instrument) -> None:
        replay.play(bitcoin, make_bars(range(3)), interval_s=60)

        said = run("bars", "--compact", "0")

        assert "2 bars moved" in said
        assert len(store.read(bitcoin.pk, 60)) == 2

    def test_damage_is_a_failure(self, database: None, bar_store: Path) -> None:
        store.merge(instrument_id=uuid4(), interval_s=60, bars=make_bars([1]))
        next(bar_store.glob("*/60/volume.*")).write_bytes(b"\0" * 8)

        with pytest.raises(CommandError, match="volume"):
            run("bars", "--verify")
