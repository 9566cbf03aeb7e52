"""The one list of what runs: every process of the service, how it starts, what it may know."""

import http.client
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pinelab.program import Program, always

ROOT = Path(__file__).resolve().parents[1]
# What processes of one kind may know of the stores. The web never holds the address that passes
# the policies, and none of them holds the owner's.
WEB = ("DATABASE_URL", "REDIS_URL")
CROSS_TENANT = ("DATABASE_URL", "DATABASE_OPS_URL", "REDIS_URL")
INTAKE = ("DATABASE_HOOKS_URL",)
STORES = {
    "DATABASE_URL",
    "DATABASE_OWNER_URL",
    "DATABASE_OPS_URL",
    "DATABASE_HOOKS_URL",
    "REDIS_URL",
}
SETTINGS = {"SECRET_KEY", "TENANT_CONTEXT_KEY"}
# Numeric libraries start a thread for each core they see, and then wait for one another.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# The embedded servers are stage 0: what works on the database, and then what the world reaches.
WORKS, FACES_THE_WORLD = 1, 2


@dataclass(frozen=True)
class Process:
    """A line of the table.

    Attributes:
        command: words after the interpreter; `{host}`, `{port}` and `{var}` are filled in.
        needs: the stores' addresses that it is given.
        port: the variable with its port; empty for those that do not listen.
        health: what answers when it is ready; any answer but a failure of its own counts.
    """

    name: str
    command: str
    needs: tuple[str, ...]
    stage: int = WORKS
    port: str = ""
    health: str = "/"
    grace_s: float = 4.0


PROCESSES = (
    Process(
        "web",
        "-m granian --interface wsgi --host {host} --port {port} --workers 1 --blocking-threads 4"
        " --no-ws --workers-kill-timeout 2 --log-level warning pinelab.wsgi:application",
        needs=WEB,
        stage=FACES_THE_WORLD,
        port="PINELAB_PORT",
        health="/health/live",
        grace_s=3.0,
    ),
    Process(
        "hooks",
        "-m uvicorn --host {host} --port {port} --log-level warning --no-access-log"
        " --no-server-header --no-date-header --no-proxy-headers --timeout-graceful-shutdown 2"
        " --ws none --lifespan on --http apps.webhooks.punctual:PunctualHttp"
        " apps.webhooks.intake:application",
        needs=INTAKE,
        stage=FACES_THE_WORLD,
        port="PINELAB_HOOKS_PORT",
        grace_s=3.0,
    ),
    Process(
        "live",
        "-m uvicorn --host {host} --port {port} --log-level warning --no-access-log"
        " --no-server-header --ws-max-size 65536 --ws-per-message-deflate false"
        " --timeout-graceful-shutdown 2"
        " pinelab.asgi:application",
        needs=WEB,
        stage=FACES_THE_WORLD,
        port="PINELAB_LIVE_PORT",
        grace_s=3.0,
    ),
    Process("pipeline", "manage.py pipeline", needs=CROSS_TENANT),
    Process("desk", "manage.py desk", needs=CROSS_TENANT),
    Process("feed", "manage.py feed", needs=CROSS_TENANT),
    Process(
        "worker",
        "-W ignore -m celery --quiet --app pinelab worker --beat --schedule {var}/beat"
        " --concurrency 1 --without-gossip --without-mingle --without-heartbeat --loglevel WARNING",
        needs=CROSS_TENANT,
    ),
)
NAMES = tuple(process.name for process in PROCESSES)


def program(process: Process, settings: Mapping[str, str]) -> Program:
    """How to run a line of the table.

    Args:
        process: the line.
        settings: what `Services.environment()` says.
    """
    host = os.environ.get("PINELAB_BIND", "127.0.0.1")
    port = settings[process.port] if process.port else ""
    words = process.command.format(host=host, port=port, var=settings["PINELAB_VAR"])
    return Program(
        name=process.name,
        argv=[sys.executable, *words.split()],
        env=environment(process.needs, settings),
        is_ready=partial(answers, reached(host), int(port), process.health) if port else always,
        stage=process.stage,
        grace_s=process.grace_s,
        directory=ROOT,
    )


def environment(needs: tuple[str, ...], settings: Mapping[str, str]) -> dict[str, str]:
    """Our own environment, with only those addresses and keys that a process needs."""
    withheld = STORES - set(needs) | (SETTINGS if needs == INTAKE else set())
    everything = {**os.environ, **ONE_THREAD, "PYTHONUNBUFFERED": "1", **settings}
    return {name: value for name, value in everything.items() if name not in withheld}


def reached(host: str) -> str:
    """Where to ask a process that listens on ``host``: every address includes our own."""
    return "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 (nothing is bound here)


def answers(host: str, port: int, path: str) -> bool:
    """Whether a process answers at its port; what it does not know is an answer too."""
    line = http.client.HTTPConnection(host, port, timeout=3)
    try:
        line.request("GET", path)
        return line.getresponse().status < http.client.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        line.close()
