import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pinelab import supervisor as module
from pinelab.program import Program
from pinelab.schema import ROOT
from pinelab.supervisor import Console, GaveUp, Supervisor

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('here', flush=True); time.sleep(60)"
)


def program(name: str, code: str, *words: str, **more: object) -> Program:
    argv = [sys.executable, "-u", "-c", code, *words]
    return Program(name=name, argv=argv, env=dict(os.environ), **more)  # type: ignore[arg-type]


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def until(condition: Callable[[], bool], *, patience_s: float = 10) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def supervise(
    work: Callable[[Supervisor], Awaitable[None]], *, is_quiet: bool = False
) -> list[str]:
    """Run ``work`` with a supervisor, stop it, and return the lines on its console."""
    out = io.StringIO()

    async def run() -> None:
        supervisor = Supervisor(Console(out, is_quiet=is_quiet), backoff_s=0.05)
        try:
            await work(supervisor)
        finally:
            await supervisor.stop()

    asyncio.run(run())
    return out.getvalue().splitlines()


def said(supervisor: Supervisor) -> str:
    assert isinstance(supervisor.console.out, io.StringIO)
    return supervisor.console.out.getvalue()


def says(word: str, supervisor: Supervisor) -> Callable[[], bool]:
    return lambda: word in said(supervisor)


async def soon(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


class TestConsole:
    def test_every_line_has_its_speakers_name(self) -> None:
        async def work(supervisor: Supervisor) -> None:
            supervisor.start([program("talker", "print('one\\ntwo'); import time; time.sleep(60)")])
            await soon(says("two", supervisor))

        assert supervise(work) == ["talker   | one", "talker   | two"]

    def test_a_line_without_end_is_shown_in_pieces(self) -> None:
        code = (
            "import sys, time; sys.stdout.write('x' * 200_000); sys.stdout.flush(); time.sleep(60)"
        )

        async def work(supervisor: Supervisor) -> None:
            supervisor.start([program("talker", code)])
            await soon(says("x" * 60_000, supervisor))

        assert len(supervise(work)) > 1

    def test_nobody_reading_is_no_reason_to_stop(self) -> None:
        code = (
            "import sys; from pinelab.supervisor import Console\n"
            "console = Console(sys.stdout); sys.stdin.readline()\n"
            "console.say('one'); console.say('two'); sys.exit(7)"
        )
        with subprocess.Popen(  # noqa: S603 (the code above)
            [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout
            process.stdout.close()
            process.communicate(b"go\n")

        assert process.returncode == 7

    def test_colours_are_for_terminals(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NO_COLOR", raising=False)
        terminal = io.StringIO()
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        Console(terminal).relay("web", "hello")
        paper = io.StringIO()
        Console(paper).relay("web", "hello")

        assert terminal.getvalue() == "\x1b[36mweb      |\x1b[0m hello\n"
        assert paper.getvalue() == "web      | hello\n"


class TestRestart:
    def test_a_program_that_died_is_started_again_and_that_is_said(self, tmp_path: Path) -> None:
        lives = tmp_path / "lives"
        code = (
            "import sys, time; from pathlib import Path\n"
            "lives = Path(sys.argv[1]); lives.write_text(lives.read_text() + 'x')\n"
            "if lives.read_text() == 'xx': time.sleep(60)\n"
            "sys.exit(3)"
        )
        lives.write_text("")

        async def work(supervisor: Supervisor) -> None:
            supervisor.start([program("mortal", code, str(lives))])
            await soon(lambda: lives.read_text() == "xx")

        assert supervise(work) == ["mortal ended (exit status 3): it starts again in 0.05 s."]

    def test_it_gives_up_after_five_quick_deaths(self) -> None:
        async def work(supervisor: Supervisor) -> None:
            supervisor.start([program("mortal", "import sys; print('no reason'); sys.exit(3)")])
            await supervisor.forever()

        with pytest.raises(GaveUp, match=r"mortal ended 5 times .* exit status 3"):
            supervise(work)

    def test_the_last_words_are_shown_also_when_quiet(self) -> None:
        async def work(supervisor: Supervisor) -> None:
            supervisor.start([program("mortal", "import sys; print('no reason'); sys.exit(3)")])
            with pytest.raises(GaveUp):
                await supervisor.forever()

        lines = supervise(work, is_quiet=True)

        assert "mortal   | no reason" in lines

    def test_a_long_life_forgives_earlier_deaths(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "QUICK_S", 0.0)

        async def work(supervisor: Supervisor) -> None:
            supervisor.start([program("mortal", "print('again')")])
            await soon(lambda: said(supervisor).count("again in") > 6)

        assert "stops" not in "".join(supervise(work))

    def test_workers_of_a_dead_program_do_not_outlive_it(self) -> None:
        code = (
            "import subprocess, sys; c = subprocess.Popen(['/bin/sleep', '60']);"
            "print('worker', c.pid, flush=True); sys.exit(1)"
        )
        pids: list[int] = []

        async def work(supervisor: Supervisor) -> None:
            supervisor.start([program("parent", code)])
            await soon(says("it starts again", supervisor))
            words = said(supervisor).split()
            pids.append(int(words[words.index("worker") + 1]))
            await soon(lambda: not is_alive(pids[0]))

        supervise(work)
        assert not is_alive(pids[0])


class TestReady:
    def test_it_waits_for_the_probe(self, tmp_path: Path) -> None:
        sign = tmp_path / "sign"
        code = "import sys, time; time.sleep(.3); open(sys.argv[1], 'w'); time.sleep(60)"
        slow = program("slow", code, str(sign), is_ready=sign.exists)

        async def work(supervisor: Supervisor) -> None:
            supervisor.start([slow])
            assert not sign.exists()
            await supervisor.ready([slow], patience_s=10)
            assert sign.exists()

        supervise(work)

    def test_it_does_not_wait_for_the_hopeless(self) -> None:
        hopeless = program("hopeless", "raise SystemExit(1)", is_ready=lambda: False)

        async def work(supervisor: Supervisor) -> None:
            supervisor.start([hopeless])
            await supervisor.ready([hopeless], patience_s=60)

        began = time.monotonic()
        with pytest.raises(GaveUp, match="hopeless ended 5 times"):
            supervise(work)
        assert time.monotonic() - began < 20

    def test_it_does_not_wait_forever(self) -> None:
        mute = program("mute", "import time; time.sleep(60)", is_ready=lambda: False)

        async def work(supervisor: Supervisor) -> None:
            supervisor.start([mute])
            await supervisor.ready([mute], patience_s=0.2)

        with pytest.raises(GaveUp, match=r"within 0\.2 seconds"):
            supervise(work)


class TestComplete:
    def test_it_returns_the_exit_status(self) -> None:
        statuses: list[int] = []

        async def work(supervisor: Supervisor) -> None:
            statuses.append(await supervisor.complete(program("task", "print('done')")))
            statuses.append(await supervisor.complete(program("task", "raise SystemExit(4)")))

        assert supervise(work) == ["task     | done"]
        assert statuses == [0, 4]


class TestStop:
    def test_higher_stages_stop_first(self, tmp_path: Path) -> None:
        code = (
            "import signal, sys, time\n"
            "def stop(*_):\n"
            "    time.sleep(.2); open(sys.argv[2], 'a').write(sys.argv[1]); sys.exit()\n"
            "signal.signal(signal.SIGTERM, stop); print('here', flush=True); time.sleep(60)"
        )
        order = tmp_path / "order"

        async def work(supervisor: Supervisor) -> None:
            supervisor.start(
                program(name, code, name, str(order), stage=stage)
                for name, stage in [("b", 1), ("a", 2), ("c", 0)]
            )
            await soon(lambda: said(supervisor).count("here") == 3)

        supervise(work)
        assert order.read_text() == "abc"

    def test_the_stubborn_are_killed_after_their_grace(self) -> None:
        async def work(supervisor: Supervisor) -> None:
            supervisor.start([program("stubborn", STUBBORN, grace_s=0.3)])
            await soon(says("here", supervisor))

        began = time.monotonic()
        lines = supervise(work)
        assert lines[-1] == "stubborn did not stop in time and was killed."
        assert time.monotonic() - began < 5

    def test_a_program_in_its_pause_is_not_started_again(self) -> None:
        async def work(supervisor: Supervisor) -> None:
            supervisor.backoff_s = 60
            supervisor.start([program("mortal", "raise SystemExit(1)")])
            await soon(says("it starts again", supervisor))

        began = time.monotonic()
        supervise(work)
        assert time.monotonic() - began < 5


SUPERVISED = """
import asyncio, os, sys
from pinelab.program import Program
from pinelab.supervisor import Console, Supervisor

async def run():
    supervisor = Supervisor(Console(sys.stdout))
    argv = [sys.executable, '-u', '-c', sys.argv[1], sys.argv[1]]
    supervisor.start([Program('stubborn', argv, os.environ, grace_s=0.5)])
    await supervisor.forever()

asyncio.run(run())
"""


class TestKilled:
    def test_kill_9_of_the_supervisor_leaves_no_orphan(self) -> None:
        # Both the program and its own child ignore the request to stop.
        stubborn = (
            "import os, signal, subprocess, sys, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "print('pid', os.getpid(), flush=True)\n"
            "if len(sys.argv) > 1: subprocess.Popen([sys.executable, '-c', sys.argv[1]])\n"
            "time.sleep(60)"
        )
        with subprocess.Popen(  # noqa: S603 (the code above)
            [sys.executable, "-c", SUPERVISED, stubborn],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout
            pids = [int(process.stdout.readline().split()[-1]) for _ in range(2)]
            assert all(is_alive(pid) for pid in pids)
            process.kill()

        until(lambda: not any(is_alive(pid) for pid in pids))

    def test_kill_9_of_supervisor_and_guardian_still_ends_the_obedient(self) -> None:
        code = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(60)"
        with subprocess.Popen(  # noqa: S603 (the code above)
            [sys.executable, "-c", SUPERVISED, code], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            pid = int(process.stdout.readline().split()[-1])
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            guardians = [
                int(child)
                for child in children
                if b"guardian.py" in Path(f"/proc/{child}/cmdline").read_bytes()
            ]
            os.kill(guardians[0], signal.SIGKILL)
            process.kill()

        assert len(guardians) == 1
        until(lambda: not is_alive(pid))
