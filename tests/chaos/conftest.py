"""One service for all chaos tests, and a seed that a failure prints."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests import stage
from tests.chaos import harness, monkey
from tests.chaos.harness import Service
from tests.chaos.monkey import Monkey

# As many as `make chaos` uses, and some more.
PLAYERS = 100
SEED = pytest.StashKey[int]()


@pytest.fixture(scope="session")
def running_service() -> Iterator[Service]:
    with harness.running(stage.STAGE.var / f"chaos-{stage.NAME}", players=PLAYERS) as service:
        yield service


@pytest.fixture
def service(running_service: Service) -> Service:
    """Everything runs and answers, whatever the test before has done to it."""
    if not running_service.stores.redis.program.is_ready():
        running_service.stores.redis.start_again()
    running_service.ended.clear()
    running_service.raise_the_dead()
    running_service.ready()
    return running_service


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """The source of every random choice of a test."""
    chosen = monkey.seed()
    request.node.stash[SEED] = chosen
    return random.Random(chosen)


@pytest.fixture
def angry_monkey(service: Service, chance: random.Random) -> Monkey:
    return Monkey(service, chance)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.failed and SEED in item.stash:
        report.sections.append(("chaos", f"PINELAB_CHAOS_SEED={item.stash[SEED]}"))
    return report
