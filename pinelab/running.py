"""Where the service that runs in var/ keeps its stores, for `manage.py` beside it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from pinelab import schema
from pinelab.embedded import keys

# Enough for settings to load where nothing is reached: help, makemigrations, parse_alerts.
NOWHERE = {
    "SECRET_KEY": "nowhere",
    "TENANT_CONTEXT_KEY": "nowhere",
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}
ADVICE = (
    "No database answers. Start the service with `make run` in another terminal, or set"
    " DATABASE_URL and the other addresses of docs/operator-guide.md."
)


def note(var: Path, environment: Mapping[str, str]) -> None:
    """Leave word that a service runs here, readable by its owner only."""
    keys.write(_file(var), json.dumps({"pid": os.getpid(), "environment": dict(environment)}))


def environment(var: Path | None = None) -> dict[str, str]:
    """What the running service's processes were told; NOWHERE when none runs."""
    file = _file(var or Path(os.environ.get("PINELAB_VAR") or schema.ROOT / "var"))
    try:
        said = json.loads(file.read_text())
        os.kill(said["pid"], 0)
    except (OSError, ValueError, KeyError):
        return dict(NOWHERE)
    return dict(said["environment"])


def _file(var: Path) -> Path:
    return var / "service.json"
