import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pinelab import account
from pinelab.account import NOBODY, Account
from pinelab.embedded import CannotStart, place, start
from pinelab.schema import ROOT

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root can set up")


def sentence(var: Path) -> str:
    """What a start there says; it must be one line and name the way out."""
    with pytest.raises(CannotStart) as refusal:
        start(var).stop()
    said = str(refusal.value)
    assert "\n" not in said
    return said


class TestStart:
    def test_refuses_a_file(self, var: Path) -> None:
        var.write_text("")

        assert "is a file" in sentence(var)

    def test_refuses_a_directory_below_a_file(self, var: Path) -> None:
        var.write_text("")

        assert "PINELAB_VAR" in sentence(var / "deeper")

    def test_refuses_a_broken_place(self, var: Path) -> None:
        var.mkdir()
        (var / "postgres").write_text("")

        assert "is not what PineLab left there" in sentence(var)

    def test_refuses_a_second_service(self, var: Path) -> None:
        first = start(var)
        try:
            said = sentence(var)
        finally:
            first.stop()

        assert f"already runs on {var} (process {os.getpid()})" in said

    def test_refuses_another_versions_data(self, var: Path) -> None:
        start(var).stop()
        (var / "postgres" / "data" / "PG_VERSION").write_text("14\n")

        assert "was made by PostgreSQL 14 and this machine has 1" in sentence(var)

    def test_refuses_data_whose_secrets_are_gone(self, var: Path) -> None:
        start(var).stop()
        (var / "secrets" / "env").unlink()

        assert "put that file back" in sentence(var)
        assert not (var / "secrets" / "env").exists()

    def test_refuses_a_disk_with_too_little_space(
        self, var: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Usage(NamedTuple):
            free: int

        monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100 * place.MIB))

        assert "has only 100 MiB free" in sentence(var)

    def test_refuses_an_outside_database_that_does_not_answer(
        self, var: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgresql://someone:word@127.0.0.1:1/pinelab")
        monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")

        said = sentence(var)

        assert "does not let us in" in said
        assert "word" not in said

    def test_refuses_a_port_that_is_none(self, monkeypatch: pytest.MonkeyPatch, var: Path) -> None:
        services = start(var)
        monkeypatch.setenv("PINELAB_PORT", "eighty")
        try:
            with pytest.raises(CannotStart, match="is no port"):
                services.environment()
        finally:
            services.stop()

    def test_says_why_a_server_did_not_start(self, var: Path) -> None:
        start(var).stop()
        (var / "postgres" / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")

        assert "postgres did not start" in sentence(var)

    def test_leaves_the_place_free_after_a_refusal(self, var: Path) -> None:
        start(var).stop()
        configuration = var / "postgres" / "data" / "postgresql.conf"
        before = configuration.read_text()
        configuration.write_text("no_such_setting = 1\n")
        sentence(var)
        configuration.write_text(before)

        start(var).stop()


@pytest.fixture
def mounted(open_directory: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    point = open_directory / "small"
    point.mkdir(exist_ok=True)
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=2m,mode=755", "tmpfs", str(point)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:  # noqa: S603
        pytest.skip("this machine does not let us mount a small disk")
    yield point
    subprocess.run(["/bin/umount", str(point)], check=True)  # noqa: S603


@as_root
class TestAsRoot:
    def test_refuses_a_full_disk(self, mounted: Path) -> None:
        with pytest.raises(OSError, match="No space left"):
            (mounted / "filler").write_bytes(bytes(3 * place.MIB))

        assert "disk that holds" in sentence(mounted / "var")

    def test_refuses_a_read_only_disk(self, mounted: Path) -> None:
        subprocess.run(["/bin/mount", "-o", "remount,ro", str(mounted)], check=True)  # noqa: S603

        assert "read-only file system" in sentence(mounted / "var")

    def test_keeps_the_servers_data_elsewhere_when_their_user_cannot_enter(
        self, open_directory: Path
    ) -> None:
        closed = open_directory / "closed"
        closed.mkdir(mode=0o700)

        services = start(closed / "var")
        services.stop()
        again = start(closed / "var")
        again.stop()

        assert again.database_url == services.database_url
        home = place.find_home(closed / "var", account.for_servers(closed / "none"))[0]
        assert home != closed / "var"
        assert (home / "postgres" / "data" / "PG_VERSION").exists()
        shutil.rmtree(home)

    def test_the_servers_are_not_root(self, var: Path) -> None:
        services = start(var)
        try:
            users = {Path(f"/proc/{process.pid}").stat().st_uid for _, process in services.running}
        finally:
            services.stop()

        assert users == {NOBODY}


def python_for_everyone() -> str:
    """An interpreter like ours that another user may run; ours may lie in a closed home."""
    own = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, shutil.which(own, path="/usr/bin:/usr/local/bin")):
        if candidate and Account(NOBODY, NOBODY).reaches(Path(candidate).resolve().parent):
            return candidate
    pytest.skip(f"no {own} on this machine is open to other users")


def start_as_nobody(var: Path) -> str:
    code = (
        "import sys; from pathlib import Path; from pinelab.embedded import CannotStart, start\n"
        "try:\n    start(Path(sys.argv[1])).stop(); print('started')\n"
        "except CannotStart as refusal: print(refusal)\n"
    )
    done = subprocess.run(  # noqa: S603 (the code above)
        [python_for_everyone(), "-c", code, str(var)],
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONPATH": sysconfig.get_path("platlib")},
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
    return (done.stdout + done.stderr).strip()


@as_root
class TestAsAnOrdinaryUser:
    def test_starts(self, open_directory: Path) -> None:
        theirs = open_directory / "theirs"
        theirs.mkdir()
        os.chown(theirs, NOBODY, NOBODY)

        assert start_as_nobody(theirs / "var") == "started"

    def test_refuses_a_place_that_it_cannot_write(self, open_directory: Path) -> None:
        said = start_as_nobody(open_directory / "new")

        assert said == (
            f"{open_directory / 'new'} cannot be written by this user: give this user the "
            f"directory (chown -R), or choose another place with PINELAB_VAR."
        )

    def test_refuses_what_root_made(self, var: Path) -> None:
        start(var).stop()

        said = start_as_nobody(var)

        assert "cannot be written by this user" in said
        assert "\n" not in said
