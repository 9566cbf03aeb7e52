"""The command that reads alert bodies from a file, without a server or a database."""

import io
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command


def run(source: str) -> tuple[list[dict[str, Any]], str, int]:
    out, err = io.StringIO(), io.StringIO()
    code = 0
    try:
        call_command("parse_alerts", source, stdout=out, stderr=err, no_color=True)
    except SystemExit as end:
        code = int(str(end.code))
    rows = [json.loads(line, parse_float=Decimal) for line in out.getvalue().splitlines()]
    return rows, err.getvalue(), code


class TestParseAlerts:
    def test_each_body_gives_one_line(self, tmp_path: Path) -> None:
        file = tmp_path / "alerts.jsonl"
        file.write_text('{"id": "a", "body": "BUY AAPL 10"}\n\n{"id": 2, "body_b64": "QlVZIEE="}\n')

        rows, err, code = run(str(file))

        assert [row["id"] for row in rows] == ["a", 2]
        assert rows[0] == {
            "id": "a", "ticker": "AAPL", "action": "buy", "price": None, "quantity": 10,
            "timeframe": None, "strategy": None, "error": None,
        }  # fmt: skip
        assert (err, code) == ("", 0)

    def test_numbers_are_exact(self, tmp_path: Path) -> None:
        body = '{"ticker":"PEPE","action":"buy","price":9.81e-06,"qty":15000000.10}'
        file = tmp_path / "alerts.jsonl"
        file.write_text(json.dumps({"id": 1, "body": body}))

        rows, _, _ = run(str(file))

        assert rows[0]["price"] == Decimal("0.00000981")
        assert rows[0]["quantity"] == Decimal("15000000.10")

    def test_a_bad_line_is_named_and_the_others_are_printed(self, tmp_path: Path) -> None:
        file = tmp_path / "alerts.jsonl"
        lines = ['{"id":1,"body":"x"}', "{", '{"id":2}', '{"id":3,"body_b64":"!"}', "[]"]
        file.write_text("\n".join([*lines, '{"id":4,"body":"y"}']))

        rows, err, code = run(str(file))

        assert [row["id"] for row in rows] == [1, 4]
        assert [line.split(":")[0] for line in err.splitlines()] == [
            "line 2", "line 3", "line 4", "line 5",
        ]  # fmt: skip
        assert code == 1

    def test_a_dash_reads_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO('{"id":1,"body":"SELL AAPL"}\n'))

        rows, _, code = run("-")

        assert rows[0]["action"] == "sell"
        assert code == 0

    def test_a_file_that_is_not_there_is_told(self) -> None:
        with pytest.raises(CommandError, match="cannot read"):
            run("nowhere.jsonl")
