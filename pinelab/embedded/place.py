"""The directory var/: checked before anything starts, held by one service at a time."""

import fcntl
import hashlib
import os
import random
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pinelab import account
from pinelab.account import Account
from pinelab.embedded import keys
from pinelab.embedded.refusal import CannotStart, refusal

MIB = 1024 * 1024
# An empty cluster is 40 MiB and its first write-ahead log files 32 MiB more.
SPACE_TO_BEGIN = 256 * MIB
SPACE_TO_GO_ON = 64 * MIB
LOG_ENOUGH = 5 * MIB
# Below the range from which systems hand out ports to outgoing connections.
PORTS = range(20_000, 30_000)


@dataclass
class Place:
    """One installation's data: where it is, who runs its servers, its secrets, the hold on it."""

    var: Path
    home: Path
    account: Account
    secrets: Mapping[str, str]
    hold: int
    remarks: list[str] = field(default_factory=list)

    @property
    def postgres(self) -> Path:
        return self.home / "postgres"

    @property
    def redis(self) -> Path:
        return self.home / "redis"

    def log(self, name: str) -> Path:
        """The log of one server; one that grew large moves aside, replacing the one before."""
        file = self.var / "log" / f"{name}.log"
        file.parent.mkdir(exist_ok=True)
        if file.exists() and file.stat().st_size > LOG_ENOUGH:
            file.replace(file.with_suffix(".log.1"))
        return file

    def port(self, name: str) -> int:
        """A free port, the same at every start unless another program took it meanwhile."""
        file = self.var / f"{name}.port"
        remembered = file.read_text().strip() if file.exists() else ""
        if remembered.isdigit() and is_free(int(remembered)):
            return int(remembered)
        chosen = next(port for port in random.sample(PORTS, 200) if is_free(port))
        file.write_text(f"{chosen}\n")
        return chosen

    def release(self) -> None:
        """Let another service have this directory."""
        os.close(self.hold)


def take(var: Path) -> Place:
    """Take hold of ``var``, making it where it does not exist.

    Raises:
        CannotStart: it cannot be written, its disk is full, or another service holds it.
    """
    var = var.expanduser().absolute()
    try:
        return settle(var)
    except OSError as error:
        raise refusal(error, var) from error


def settle(var: Path) -> Place:
    if var.exists() and not var.is_dir():
        raise CannotStart(
            f"{var} is a file, but PineLab keeps its data in a directory of that name: "
            f"move the file away, or choose another place with PINELAB_VAR."
        )
    var.mkdir(parents=True, exist_ok=True)
    hold = lock(var)
    try:
        return furnish(var, hold)
    except BaseException:
        os.close(hold)
        raise


def furnish(var: Path, hold: int) -> Place:
    runs_servers = account.for_servers(var / "postgres" / "data")
    home, remarks = find_home(var, runs_servers)
    has_data = (home / "postgres" / "data" / "PG_VERSION").exists()
    check_space(home, SPACE_TO_GO_ON if has_data else SPACE_TO_BEGIN)
    secrets = keys.keep(var / "secrets", has_data=has_data)
    return Place(var, home, runs_servers, secrets, hold, remarks)


def lock(var: Path) -> int:
    """Hold ``var`` until this process ends, however it ends; the kernel lets go of it."""
    descriptor = os.open(var / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode().strip() or "unknown"
        os.close(descriptor)
        raise CannotStart(
            f"PineLab already runs on {var} (process {holder}): "
            f"stop that one first, or choose another place with PINELAB_VAR."
        ) from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def find_home(var: Path, runs_servers: Account) -> tuple[Path, list[str]]:
    """Where the servers keep their data: in var/, unless their user cannot get there."""
    if runs_servers.is_other:
        # Entering is enough: what is inside keeps its own permissions.
        var.chmod(var.stat().st_mode | 0o011)
    if runs_servers.reaches(var):
        return var, []
    name = f"pinelab-{hashlib.sha256(str(var).encode()).hexdigest()[:12]}"
    home = Path("/var/lib", name)
    home.mkdir(mode=0o711, parents=True, exist_ok=True)
    home.chmod(0o711)
    remark = (
        f"The servers do not run as root, and their user cannot enter {var}: "
        f"the databases are kept in {home}."
    )
    return home, [remark]


def check_space(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise CannotStart(
            f"The disk that holds {directory} has only {free // MIB} MiB free and PineLab needs "
            f"{needed // MIB} MiB: free some space there, or choose another place with PINELAB_VAR."
        )


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of this machine now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
