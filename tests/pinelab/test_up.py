import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pinelab import up
from pinelab.embedded import place
from pinelab.processes import PROCESSES, STORES
from pinelab.schema import ROOT

# The real command with a small table: what it starts is others' business.
SMALL = """
import sys
from pinelab import schema, up
from pinelab.processes import Process
schema.is_current = lambda url: True
up.PROCESSES = (
    Process("web", "-m http.server --bind {host} {port}", needs=(), stage=2, port="PINELAB_PORT"),
    Process("desk", "-m http.server --bind {host} 0", needs=()),
    Process("broken", "-c raise(SystemExit(3))", needs=()),
)
up.NAMES = ("web", "desk", "broken")
sys.exit(up.main(sys.argv[1:]))
"""


@pytest.fixture
def port() -> int:
    return next(port for port in place.PORTS if place.is_free(port))


def launch(var: Path, port: int, words: Sequence[str]) -> "subprocess.Popen[str]":
    own = {"PINELAB_VAR": str(var), "PINELAB_PORT": str(port)}
    outside = {key: value for key, value in os.environ.items() if key not in STORES}
    return subprocess.Popen(  # noqa: S603 (the code above)
        [sys.executable, "-c", SMALL, "--no-demo", *words],
        cwd=ROOT,
        env={**outside, **own},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_banner(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    seen = []
    for line in process.stdout:
        seen.append(line)
        if "Ctrl-C" in line:
            break
    return "".join(seen)


@pytest.fixture
def running(var: Path, port: int) -> "Iterator[subprocess.Popen[str]]":
    process = launch(var, port, ["--only", "web,desk"])
    yield process
    process.kill()
    process.communicate()


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


def is_gone(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


class TestMain:
    def test_from_nothing_to_a_page_and_back(
        self, running: "subprocess.Popen[str]", port: int
    ) -> None:
        banner = until_banner(running)
        page = http.client.HTTPConnection("127.0.0.1", port)
        page.request("GET", "/")
        status = page.getresponse().status
        page.close()
        children = descendants(running.pid)
        began = time.monotonic()
        running.send_signal(signal.SIGINT)
        rest, faults = running.communicate(timeout=15)

        assert f"http://localhost:{port}/" in banner
        assert status == 200
        assert time.monotonic() - began < 10
        assert (running.returncode, faults) == (0, "")
        assert rest.splitlines()[-1] == "Stopping."
        assert len(children) >= 5
        assert all(is_gone(child) for child in children)

    def test_a_second_one_says_so(
        self, running: "subprocess.Popen[str]", var: Path, port: int
    ) -> None:
        until_banner(running)
        other = next(other for other in place.PORTS if other != port and place.is_free(other))

        _, said = (second := launch(var, other, ["--only", "web"])).communicate()

        assert second.returncode == 1
        assert said.startswith(f"PineLab already runs on {var} (process {running.pid})")
        assert said.count("\n") == 1

    def test_kill_9_leaves_no_orphan_and_the_next_start_works(
        self, running: "subprocess.Popen[str]", var: Path, port: int
    ) -> None:
        until_banner(running)
        children = descendants(running.pid)
        running.kill()
        running.communicate()
        deadline = time.monotonic() + 10
        while not all(is_gone(child) for child in children) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert all(is_gone(child) for child in children)

        again = launch(var, port, ["--only", "web"])
        assert "PineLab is running" in until_banner(again)
        again.send_signal(signal.SIGTERM)
        again.communicate(timeout=15)
        assert again.returncode == 0

    def test_a_killed_database_comes_back(
        self, running: "subprocess.Popen[str]", var: Path
    ) -> None:
        until_banner(running)
        note = var / "postgres" / "data" / "postmaster.pid"
        first = int(note.read_text().split()[0])
        os.kill(first, signal.SIGKILL)

        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            words = note.read_text().split() if note.exists() else []
            if "ready" in words and int(words[0]) != first:
                break
            time.sleep(0.1)
        assert int(note.read_text().split()[0]) != first
        assert running.poll() is None

    def test_a_taken_port_is_refused_before_anything_starts(self, var: Path, port: int) -> None:
        with socket.create_server(("127.0.0.1", port)):
            _, said = (process := launch(var, port, ["--only", "web"])).communicate()

        assert process.returncode == 1
        assert said == (
            f"Port {port}, where web would listen, is taken by another program: "
            f"stop that one, or choose another port with PINELAB_PORT.\n"
        )
        assert not var.exists()

    @pytest.mark.slow
    def test_a_hopeless_process_ends_it_in_one_sentence(self, var: Path, port: int) -> None:
        _, said = (process := launch(var, port, ["--only", "broken"])).communicate()

        assert process.returncode == 1
        assert said.startswith("broken ended 5 times within seconds of its start")
        assert said.count("\n") == 1

    def test_a_file_for_var_is_one_sentence(self, var: Path, port: int) -> None:
        var.write_text("")

        _, said = (process := launch(var, port, ["--only", "web"])).communicate()

        assert process.returncode == 1
        assert said.startswith(f"{var} is a file")
        assert said.count("\n") == 1


class TestParse:
    def test_everything_is_started_by_default(self) -> None:
        assert tuple(up.parse([]).processes) == PROCESSES

    def test_only_keeps_the_tables_order(self) -> None:
        chosen = up.parse(["--only", "hooks,web"]).processes

        assert [process.name for process in chosen] == ["web", "hooks"]

    def test_a_name_that_is_none_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            up.parse(["--only", "webb"])

        assert "no process is called webb: choose from web, hooks" in capsys.readouterr().err


class TestBanner:
    def test_it_says_where_to_log_in_and_what_to_try(self, var: Path) -> None:
        var.mkdir()
        demo = {"email": "demo@example.com", "password": "pass word", "curl": "curl -d x http://y"}
        (var / "demo.json").write_text(json.dumps(demo))

        lines = up.banner(var, {"PINELAB_PORT": "8000"}, PROCESSES)

        assert lines[3:7] == [
            "  Open    http://localhost:8000/",
            "  Log in  demo@example.com  pass word",
            "  Try     curl -d x http://y",
            "  Stop    Ctrl-C",
        ]

    def test_without_a_demo_it_is_shorter(self, var: Path) -> None:
        lines = up.banner(var, {"PINELAB_PORT": "8000"}, PROCESSES)

        assert "Log in" not in "".join(lines)
