import http.server
import socket
import threading

import pytest

from pinelab import processes
from pinelab.processes import PROCESSES, STORES, Process

SETTINGS = {
    **{name: f"address of {name}" for name in STORES},
    "SECRET_KEY": "one",
    "TENANT_CONTEXT_KEY": "two",
    "PINELAB_VAR": "/somewhere/var",
    "PINELAB_PORT": "8000",
    "PINELAB_HOOKS_PORT": "8001",
    "PINELAB_LIVE_PORT": "8002",
}
BY_NAME = {process.name: process for process in PROCESSES}


def knows(process: Process) -> set[str]:
    return set(processes.program(process, SETTINGS).env) & {*STORES, *processes.SETTINGS}


class TestProgram:
    @pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.name)
    def test_nothing_that_runs_holds_the_owners_address(self, process: Process) -> None:
        assert "DATABASE_OWNER_URL" not in knows(process)

    @pytest.mark.parametrize("name", ["web", "live"])
    def test_what_faces_the_world_cannot_pass_the_policies(self, name: str) -> None:
        assert "DATABASE_OPS_URL" not in knows(BY_NAME[name])

    def test_the_intake_holds_its_own_address_and_no_key(self) -> None:
        assert knows(BY_NAME["hooks"]) == {"DATABASE_HOOKS_URL"}

    @pytest.mark.parametrize("name", ["pipeline", "desk", "feed", "worker"])
    def test_what_works_for_all_tenants_can(self, name: str) -> None:
        assert {"DATABASE_URL", "DATABASE_OPS_URL"} < knows(BY_NAME[name])

    def test_what_our_own_shell_knows_is_withheld_too(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_OPS_URL", "from the shell")

        assert "DATABASE_OPS_URL" not in knows(BY_NAME["web"])

    def test_the_command_has_its_port(self) -> None:
        argv = processes.program(BY_NAME["hooks"], SETTINGS).argv

        assert argv[argv.index("--port") + 1] == "8001"

    def test_numeric_libraries_take_one_thread(self) -> None:
        env = processes.program(BY_NAME["worker"], SETTINGS).env

        assert env["OMP_NUM_THREADS"] == "1"

    def test_what_faces_the_world_stops_before_what_works_behind_it(self) -> None:
        assert BY_NAME["web"].stage > BY_NAME["desk"].stage > 0

    def test_all_graces_together_are_less_than_ten_seconds(self) -> None:
        stages = {process.stage for process in PROCESSES}
        databases_s = 3.0

        total_s = databases_s + sum(
            max(process.grace_s for process in PROCESSES if process.stage == stage)
            for stage in stages
        )

        assert total_s <= 10


class TestAnswers:
    @pytest.mark.parametrize(("status", "is_ready"), [(200, True), (404, True), (503, False)])
    def test_only_a_failure_of_its_own_is_no_answer(self, status: int, is_ready: bool) -> None:
        class Door(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()

            def log_message(self, *words: object) -> None:
                pass

        with http.server.HTTPServer(("127.0.0.1", 0), Door) as server:
            thread = threading.Thread(target=server.handle_request)
            thread.start()
            answered = processes.answers("127.0.0.1", server.server_port, "/")
            thread.join()

        assert answered is is_ready

    def test_silence_is_no_answer(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]

        assert not processes.answers("127.0.0.1", port, "/")
