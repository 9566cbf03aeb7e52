"""A bar store of each test's own, and the market's cast."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from apps.core.tenancy import acting_across
from apps.marketdata.models import Instrument
from tests.apps.marketdata.market import make_instrument


@pytest.fixture(autouse=True)
def bar_store(settings: Settings, tmp_path: Path) -> Path:
    settings.BAR_STORE = tmp_path / "bars"
    return tmp_path / "bars"


@pytest.fixture
def ops(database: Any) -> Iterator[None]:
    """The test's body acts as the feed and the commands do."""
    with acting_across("test"):
        yield


@pytest.fixture
def bitcoin(database: Any) -> Instrument:
    with acting_across("test"):
        return make_instrument()
