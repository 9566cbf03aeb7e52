"""`manage.py up`: the whole service on this machine, from nothing to a page and back.

Runs before Django is loaded: it makes the environment that settings then read.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pinelab import processes, running, schema
from pinelab.embedded import CannotStart, Place, Services, place, refusal, services
from pinelab.processes import NAMES, PROCESSES, Process
from pinelab.program import Program
from pinelab.supervisor import Console, GaveUp, Supervisor

STORES_READY_S = 60.0
PROCESSES_READY_S = 90.0


def main(argv: Sequence[str]) -> int:
    """Run until Ctrl-C; returns 0 after an orderly stop and 1 when something is in the way."""
    arguments = parse(argv)
    var = Path(os.environ.get("PINELAB_VAR") or schema.ROOT / "var")
    try:
        asyncio.run(run(arguments, var))
    except (CannotStart, GaveUp) as reason:
        sys.stderr.write(f"{reason}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{refusal(error, var)}\n")
        return 1
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="manage.py up", description=__doc__)
    parser.add_argument("--quiet", action="store_true", help="show troubles only")
    parser.add_argument("--no-demo", action="store_true", help="start without the demo tenant")
    parser.add_argument("--only", default="", help=f"some of {','.join(NAMES)}, by comma")
    arguments = parser.parse_args(argv)
    wanted = [name for name in arguments.only.split(",") if name] or NAMES
    if unknown := [name for name in wanted if name not in NAMES]:
        parser.error(f"no process is called {', '.join(unknown)}: choose from {', '.join(NAMES)}")
    arguments.processes = [process for process in PROCESSES if process.name in wanted]
    return arguments


async def run(arguments: argparse.Namespace, var: Path) -> None:
    check_ports(arguments.processes)
    taken = place.take(var)
    console = Console(sys.stdout, is_quiet=arguments.quiet)
    for remark in taken.remarks:
        console.say(remark)
    supervisor = Supervisor(console)
    work = asyncio.create_task(work_on(arguments, taken, supervisor))
    obey_signals(work, supervisor)
    try:
        await work
    except asyncio.CancelledError:
        console.say("Stopping.")
    finally:
        await supervisor.stop()
        taken.release()


async def work_on(arguments: argparse.Namespace, taken: Place, supervisor: Supervisor) -> None:
    """Everything in its order: stores, schema, demo, processes, banner; then wait."""
    stores = services.programs(taken, os.environ)
    supervisor.start(stores)
    await until_stores_answer(supervisor, stores)
    found = services.connect(taken, os.environ)
    await bring_up_to_date(arguments, supervisor, found)
    running.note(found.var, found.environment())
    await start_processes(arguments.processes, supervisor, found)
    for line in banner(found.var, found.environment(), arguments.processes):
        supervisor.console.say(line)
    await supervisor.forever()


async def until_stores_answer(supervisor: Supervisor, stores: list[Program]) -> None:
    try:
        await supervisor.ready(stores, patience_s=STORES_READY_S)
    except GaveUp as reason:
        silent = [program for program in stores if not program.is_ready()]
        raise (services.died(silent[0]) if silent else reason) from reason


async def bring_up_to_date(
    arguments: argparse.Namespace, supervisor: Supervisor, found: Services
) -> None:
    """Migrate and make the demo tenant, where that has not been done."""
    is_new = not schema.is_current(found.databases.owner)
    if is_new:
        command, settings = schema.migration(found.environment(), found.databases.owner)
        await complete(supervisor, "migrate", command[1:], settings)
        schema.stamp(found.databases.owner)
    has_demo = (found.var / "demo.json").exists() and not is_new
    seeds = any(schema.ROOT.glob("apps/*/management/commands/seed_demo.py"))
    if seeds and not arguments.no_demo and not has_demo:
        command = [str(schema.ROOT / "manage.py"), "seed_demo"]
        await complete(supervisor, "seed_demo", command, found.environment())


async def complete(
    supervisor: Supervisor, name: str, words: Sequence[str], settings: dict[str, str]
) -> None:
    needs = ("DATABASE_URL", "DATABASE_OPS_URL", "REDIS_URL")
    program = Program(
        name=name,
        argv=[sys.executable, *words],
        env=processes.environment(needs, settings),
        directory=schema.ROOT,
    )
    supervisor.console.say(f"{name} ...")
    if await supervisor.complete(program) != 0:
        raise CannotStart(f"`manage.py {name}` failed: what it said is above.")


async def start_processes(
    chosen: Sequence[Process], supervisor: Supervisor, found: Services
) -> None:
    """Start those that show something first: on two cores, they are all slower together."""
    settings = found.environment()
    started = [processes.program(process, settings) for process in chosen]
    faces = [program for program in started if program.stage == processes.FACES_THE_WORLD]
    supervisor.start(faces)
    await supervisor.ready(faces, patience_s=PROCESSES_READY_S)
    supervisor.start(program for program in started if program not in faces)


def check_ports(chosen: Sequence[Process]) -> None:
    """Refuse before anything starts, not after a minute of setting up.

    Raises:
        CannotStart: another program listens where one of ours will.
    """
    for process in chosen:
        if process.port:
            port = services.port(process.port)
            if not place.is_free(port):
                raise CannotStart(
                    f"Port {port}, where {process.name} would listen, is taken by another program: "
                    f"stop that one, or choose another port with {process.port}."
                )


def obey_signals(work: "asyncio.Task[None]", supervisor: Supervisor) -> None:
    def stop() -> None:
        if not work.cancel():
            # Asked twice: whoever asks again does not want to wait.
            supervisor.kill()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)


def banner(var: Path, settings: Mapping[str, str], chosen: Sequence[Process]) -> list[str]:
    """What a person needs to know now, and no more."""
    demo = var / "demo.json"
    known = json.loads(demo.read_text()) if demo.exists() else {}
    lines = ["", "  PineLab is running.", ""]
    if any(process.name == "web" for process in chosen):
        lines.append(f"  Open    http://localhost:{settings['PINELAB_PORT']}/")
    if "email" in known:
        lines.append(f"  Log in  {known['email']}  {known.get('password', '')}")
    if "curl" in known:
        lines.append(f"  Try     {known['curl']}")
    return [*lines, "  Stop    Ctrl-C", ""]
