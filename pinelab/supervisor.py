"""Keep a handful of programs running, show what they say, and stop them in order."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

from pinelab.program import Program

GUARDIAN = Path(__file__).with_name("guardian.py")
# A program that lived less than this has probably not worked at all.
QUICK_S = 10.0
QUICK_DEATHS = 5
LONGEST_LINE = 64 * 1024
COLOURS = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)


class GaveUp(Exception):
    """A program does not stay alive; the message is for the person at the terminal."""


@dataclass
class Child:
    """One program and what became of it so far."""

    program: Program
    process: asyncio.subprocess.Process | None = None
    keeper: "asyncio.Task[None] | None" = None
    quick_deaths: int = 0
    last_words: "deque[str]" = field(default_factory=lambda: deque(maxlen=15))


class Console:
    """Lines of many programs on one terminal, each with its speaker's name before it."""

    def __init__(self, out: TextIO, *, is_quiet: bool = False, width: int = 8) -> None:
        self.out = out
        self.is_quiet = is_quiet
        self.width = width
        self.has_colours = out.isatty() and not os.environ.get("NO_COLOR")
        self.speakers: list[str] = []

    def relay(self, speaker: str, line: str) -> None:
        """Pass on what a program said."""
        if not self.is_quiet:
            self.write(f"{self.label(speaker)} {line}")

    def say(self, line: str) -> None:
        """Say something of our own, also when quiet."""
        self.write(line)

    def label(self, speaker: str) -> str:
        if speaker not in self.speakers:
            self.speakers.append(speaker)
        name = f"{speaker:<{self.width}} |"
        if not self.has_colours:
            return name
        return f"\x1b[{COLOURS[self.speakers.index(speaker) % len(COLOURS)]}m{name}\x1b[0m"

    def write(self, line: str) -> None:
        try:
            self.out.write(f"{line}\n")
            self.out.flush()
        except (BrokenPipeError, ValueError):
            # Whoever was reading has gone; that is no reason to stop working.
            self.out = open(os.devnull, "w")  # noqa: SIM115 (it replaces a stream for good)


class Lines(asyncio.Protocol):
    """Cuts a child's output into lines; one without end is shown in pieces."""

    def __init__(self, console: Console, child: Child) -> None:
        self.console = console
        self.child = child
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        if len(self.rest) > LONGEST_LINE:
            lines.append(self.rest)
            self.rest = b""
        for line in lines:
            self.show(line)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.rest:
            self.show(self.rest)

    def show(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        self.child.last_words.append(text)
        self.console.relay(self.child.program.name, text)


class Guardian:
    """The other side of guardian.py: tells it which process groups to stop if we cannot."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(  # noqa: S603 (our own script)
            [sys.executable, "-I", "-S", str(GUARDIAN)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, program: Program, group: int) -> None:
        self.tell(f"+ {program.stage} {int(program.stop_signal)} {program.grace_s} {group}")

    def forget(self, group: int) -> None:
        self.tell(f"- {group}")

    def dismiss(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()

    def tell(self, line: str) -> None:
        if self.process.stdin:
            try:
                self.process.stdin.write(f"{line}\n".encode())
                self.process.stdin.flush()
            except BrokenPipeError:
                # Killed by someone; the leash of each program still holds.
                return


class Supervisor:
    """Starts programs, restarts those that die, and stops all of them: highest stage first.

    Args:
        console: where their output and our remarks go.
        backoff_s: the pause before a first restart; it doubles from one quick death to the next.
    """

    def __init__(self, console: Console, *, backoff_s: float = 0.5) -> None:
        self.console = console
        self.backoff_s = backoff_s
        self.children: dict[str, Child] = {}
        self.is_stopping = False
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.guardian = Guardian()

    def start(self, programs: Iterable[Program]) -> None:
        """Start all of them at once; each is kept running from now on."""
        for program in programs:
            child = Child(program)
            self.children[program.name] = child
            child.keeper = asyncio.create_task(self.keep(child))
            child.keeper.add_done_callback(self.note_failure)

    async def ready(self, programs: Iterable[Program], *, patience_s: float) -> None:
        """Return when all of them are ready.

        Raises:
            GaveUp: one of them does not stay alive, or is not ready in time.
        """
        waiting = asyncio.gather(*(self.becomes_ready(program) for program in programs))
        either: list[asyncio.Future[Any]] = [waiting, self.failure]
        await asyncio.wait(either, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        if self.failure.done():
            waiting.cancel()
            self.failure.result()
        if not waiting.done():
            waiting.cancel()
            raise GaveUp(f"Not everything was ready within {patience_s:g} seconds.")

    async def becomes_ready(self, program: Program) -> None:
        while not await asyncio.to_thread(program.is_ready):
            await asyncio.sleep(0.05)

    async def complete(self, program: Program) -> int:
        """Run a program that ends by itself, and return its exit status."""
        child = Child(program)
        self.children[program.name] = child
        try:
            return await self.live(child)
        finally:
            await self.stop_stage([child])
            del self.children[program.name]

    async def forever(self) -> None:
        """Wait until a program does not stay alive.

        Raises:
            GaveUp: always; the way to end earlier is to be cancelled.
        """
        await asyncio.shield(self.failure)

    async def stop(self) -> None:
        """Stop everything, stage by stage; what does not obey within its grace is killed."""
        self.is_stopping = True
        order = sorted(self.children.values(), key=lambda child: -child.program.stage)
        for _, stage in groupby(order, key=lambda child: child.program.stage):
            await self.stop_stage(list(stage))
        keepers = [child.keeper for child in order if child.keeper]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        self.guardian.dismiss()

    async def stop_stage(self, children: "list[Child]") -> None:
        running = [child for child in children if child.process and is_running(child.process)]
        for child in running:
            signal_one(child, child.program.stop_signal)
        if running:
            grace_s = max(child.program.grace_s for child in running)
            waits = [
                asyncio.create_task(child.process.wait()) for child in running if child.process
            ]
            await asyncio.wait(waits, timeout=grace_s)
            for child, wait in zip(running, waits, strict=True):
                if not wait.done():
                    self.console.say(f"{child.program.name} did not stop in time and was killed.")
                kill_group(child)
            await asyncio.gather(*waits)

    def kill(self) -> None:
        """Stop everything this instant, in no order."""
        for child in self.children.values():
            kill_group(child)

    async def keep(self, child: Child) -> None:
        """Run a program again and again until we stop or it proves hopeless."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            status = await self.live(child)
            if self.is_stopping:
                return
            quick = loop.time() - began < QUICK_S
            child.quick_deaths = child.quick_deaths + 1 if quick else 0
            if child.quick_deaths >= QUICK_DEATHS:
                raise self.hopeless(child, status)
            pause_s = self.backoff_s * 2 ** max(child.quick_deaths - 1, 0)
            self.console.say(
                f"{child.program.name} ended ({spell(status)}): it starts again in {pause_s:g} s."
            )
            await asyncio.sleep(pause_s)

    async def live(self, child: Child) -> int:
        """One life of a program, from its start to the last of its process group."""
        source, sink = os.pipe()
        output = child.program.open_log() if child.program.log else os.dup(sink)
        os.close(sink)
        loop = asyncio.get_running_loop()
        reader, _ = await loop.connect_read_pipe(
            lambda: Lines(self.console, child), os.fdopen(source, "rb", buffering=0)
        )
        try:
            child.process = await asyncio.create_subprocess_exec(
                *child.program.leashed(), **child.program.surroundings(output)
            )
        finally:
            os.close(output)
        self.guardian.watch(child.program, child.process.pid)
        try:
            return await child.process.wait()
        finally:
            # Its workers must not outlive it and hold its port.
            kill_group(child)
            self.guardian.forget(child.process.pid)
            await asyncio.sleep(0.05)
            reader.close()

    def hopeless(self, child: Child, status: int) -> GaveUp:
        if self.console.is_quiet:
            for line in child.last_words:
                self.console.say(f"{self.console.label(child.program.name)} {line}")
        where = f"see {child.program.log}" if child.program.log else "its last lines are above"
        return GaveUp(
            f"{child.program.name} ended {QUICK_DEATHS} times within seconds of its start "
            f"(at last with {spell(status)}), so PineLab stops: {where}."
        )

    def note_failure(self, keeper: "asyncio.Task[None]") -> None:
        if keeper.cancelled() or self.failure.done():
            return
        if error := keeper.exception():
            self.failure.set_exception(error)


async def ended(child: Child) -> None:
    if child.process:
        await child.process.wait()


def is_running(process: asyncio.subprocess.Process) -> bool:
    return process.returncode is None


def signal_one(child: Child, number: signal.Signals) -> None:
    """Signal the program itself: those that have workers know best how to stop them."""
    if child.process and is_running(child.process):
        child.process.send_signal(number)


def kill_group(child: Child) -> None:
    if child.process:
        try:
            os.killpg(child.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def spell(status: int) -> str:
    if status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"exit status {status}"
