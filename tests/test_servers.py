import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinelab.schema import ROOT

USER = """
import sys, time
from tests import servers
found = servers.servers()
print(found.admin_url, flush=True)
sys.stdin.readline()
"""


def is_free(lock: Path) -> bool:
    check = ["/usr/bin/flock", "--nonblock", str(lock), "/bin/true"]
    return subprocess.run(check, check=False).returncode == 0  # noqa: S603


@pytest.fixture
def var() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="pinelab-"))
    directory.chmod(0o755)
    yield directory
    deadline = time.monotonic() + 10
    while not is_free(directory / "lock") and time.monotonic() < deadline:
        time.sleep(0.05)
    shutil.rmtree(directory)


def user(var: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603 (the code above)
        [sys.executable, "-c", USER],
        cwd=ROOT,
        env={**os.environ, "PINELAB_TEST_VAR": str(var)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def read(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def wait_for_end_of_keeper(var: Path) -> None:
    deadline = time.monotonic() + 10
    while not is_free(var / "lock"):
        assert time.monotonic() < deadline, "the servers outlived their last user"
        time.sleep(0.05)


class TestServers:
    def test_processes_share_them_and_the_last_one_to_go_stops_them(self, var: Path) -> None:
        with user(var) as first, user(var) as second:
            assert read(first) == read(second)
            first.kill()
            first.wait()
            time.sleep(0.3)
            assert not is_free(var / "lock")
            second.kill()

        wait_for_end_of_keeper(var)
        assert not (var / "services.json").exists()

    def test_a_killed_keeper_is_replaced(self, var: Path) -> None:
        with user(var) as first:
            read(first)
            os.kill(int((var / "lock").read_text()), signal.SIGKILL)
            with user(var) as second:
                assert read(second).startswith("postgresql://")
                second.communicate("\n")
            first.communicate("\n")

        wait_for_end_of_keeper(var)

    def test_a_reason_not_to_start_reaches_the_user(self, var: Path) -> None:
        (var / "postgres").write_text("")

        with user(var) as first:
            first.communicate("\n")

        assert first.returncode == 1
