"""A var/ of its own for each test, where the servers' user can enter, and no outside stores."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinelab.processes import STORES


@pytest.fixture(autouse=True)
def _no_outside_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*STORES, "SECRET_KEY", "TENANT_CONTEXT_KEY", "PINELAB_VAR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def open_directory() -> Iterator[Path]:
    # Not pytest's own: that one is closed to every other user, also to the one of the servers.
    directory = Path(tempfile.mkdtemp(prefix="pinelab-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def var(open_directory: Path) -> Iterator[Path]:
    directory = open_directory / "var"
    yield directory
    if directory.is_file():
        directory.unlink()
    shutil.rmtree(directory, ignore_errors=True)
