"""What all tests of ml share: where the real data lies that is not part of the repository."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """The file at a path below PINELAB_TEST_DATA; the test skips where there is none."""

    def find(path: str) -> Path:
        folder = Path(os.environ.get("PINELAB_TEST_DATA", "../shared/data"))
        file = (ROOT / folder / path).resolve()
        if not file.exists():
            pytest.skip(f"real data not here: {path} (set PINELAB_TEST_DATA)")
        return file

    return find
