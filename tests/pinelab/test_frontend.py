from collections.abc import Sequence
from pathlib import Path

import pytest

from pinelab import frontend


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """A front end whose npm only notes what it was asked, and makes the directories."""
    asked: list[Sequence[str]] = []

    def npm(*words: str) -> int:
        asked.append(words)
        (tmp_path / ("node_modules" if words[0] == "ci" else "dist")).mkdir(exist_ok=True)
        return 0

    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "app.ts").write_text("one")
    monkeypatch.setattr(frontend, "STATIC", tmp_path)
    monkeypatch.setattr(frontend, "npm", npm)
    return asked


class TestMain:
    def test_the_first_build_installs_and_builds(self, calls: list[Sequence[str]]) -> None:
        assert frontend.main(["build"]) == 0

        assert [words[0] for words in calls] == ["ci", "run"]

    def test_an_unchanged_one_does_nothing(self, calls: list[Sequence[str]]) -> None:
        frontend.main(["build"])
        calls.clear()

        assert frontend.main(["build"]) == 0
        assert calls == []

    def test_a_changed_source_builds_and_does_not_install(
        self, calls: list[Sequence[str]], tmp_path: Path
    ) -> None:
        frontend.main(["build"])
        calls.clear()
        (tmp_path / "src" / "app.ts").write_text("two")

        frontend.main(["build"])

        assert [words[0] for words in calls] == ["run"]

    def test_a_changed_lock_installs(self, calls: list[Sequence[str]], tmp_path: Path) -> None:
        frontend.main(["build"])
        calls.clear()
        (tmp_path / "package-lock.json").write_text("{}")

        frontend.main(["build"])

        assert [words[0] for words in calls] == ["ci", "run"]

    def test_a_failed_build_is_tried_again(
        self, calls: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        working = frontend.npm
        monkeypatch.setattr(frontend, "npm", lambda *words: working(*words) or words[0] == "run")
        assert frontend.main(["build"]) == 1
        calls.clear()

        frontend.main(["build"])

        assert [words[0] for words in calls] == ["run"]

    def test_without_a_front_end_there_is_nothing_to_do(
        self, calls: list[Sequence[str]], tmp_path: Path
    ) -> None:
        (tmp_path / "package.json").unlink()

        assert frontend.main(["build"]) == 0
        assert calls == []


class TestVersion:
    def test_an_older_node_is_not_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("node", "npm"):
            (tmp_path / name).write_text("#!/bin/sh\necho v18.19.1\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
        monkeypatch.setattr(frontend, "find_wheel", lambda: Path("/wheel"))

        directory, command = frontend.find_npm()

        assert directory == Path("/wheel/bin")
        assert command[0] == "/wheel/bin/node"
