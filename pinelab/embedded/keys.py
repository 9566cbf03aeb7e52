"""Secrets of one installation: made once, kept in var/secrets/env, readable by its owner only."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from pinelab.embedded.refusal import CannotStart

FOR_SETTINGS = ("SECRET_KEY", "TENANT_CONTEXT_KEY")
NAMES = (
    *FOR_SETTINGS,
    "POSTGRES_PASSWORD",
    "OWNER_PASSWORD",
    "APP_PASSWORD",
    "HOOKS_PASSWORD",
    "OPS_PASSWORD",
    "REDIS_PASSWORD",
)


def keep(directory: Path, *, has_data: bool) -> Mapping[str, str]:
    """Read the secrets, making those that do not exist yet.

    Args:
        directory: var/secrets.
        has_data: a database made with earlier secrets exists, so new ones could not open it.

    Raises:
        CannotStart: the secrets are gone while the data they open is still there.
    """
    file = directory / "env"
    known = read(file)
    if has_data and "POSTGRES_PASSWORD" not in known:
        raise CannotStart(
            f"{file} is missing or incomplete, but the database it opens is still there: "
            f"put that file back, or remove {directory.parent} to start with nothing."
        )

    made = {name: known.get(name) or secrets.token_urlsafe(48) for name in NAMES}
    everything = {**known, **made}
    if everything != known:
        directory.mkdir(mode=0o700, exist_ok=True)
        write(file, "".join(f"{name}={value}\n" for name, value in everything.items()))
    return everything


def read(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    lines = (line.strip().partition("=") for line in file.read_text().splitlines())
    return {name: value for name, equals, value in lines if equals and not name.startswith("#")}


def write(file: Path, text: str) -> None:
    """Replace ``file`` whole or not at all; only its owner may read it, from the first byte."""
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
