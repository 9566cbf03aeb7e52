"""Loaded before Django: starts the servers, and tells the settings where they are."""

import fcntl
import os

from tests import servers

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
# The stage's own secrets, whatever the shell holds: the migrated database knows them.
for name in ("SECRET_KEY", "TENANT_CONTEXT_KEY"):
    os.environ.pop(name, None)


# Held until this process ends.
held: list[int] = []


def free_name() -> str:
    """A database name of our own: the worker's, or the next one that no other run is using."""
    servers.VAR.mkdir(parents=True, exist_ok=True)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    for number in range(servers.REDIS_DATABASES):
        name = f"{worker}_{number}" if number else worker
        descriptor = os.open(servers.VAR / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        held.append(descriptor)
        return name
    raise SystemExit(f"{servers.REDIS_DATABASES} test runs are going on; wait for one to end.")


NAME = free_name()
STAGE = servers.database(NAME)
os.environ |= STAGE.environment()
os.environ["PINELAB_VAR"] = str(STAGE.var / NAME)
