"""The intake as it really runs: a process of its own, and where needed a server to ill-treat."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from django.utils import timezone

from apps.accounts.models import Tenant
from apps.core.tenancy import acting_for
from apps.webhooks import services
from apps.webhooks.models import Endpoint
from pinelab.embedded import Services
from tests.apps.webhooks.intake_process import Intake, running
from tests.apps.webhooks.own_postgres import OwnPostgres


@pytest.fixture(scope="session")
def hooks_process(stage: Services) -> Iterator[Intake]:
    with running(
        stage.databases.hooks, PINELAB_HOOKS_RATE="1000", PINELAB_HOOKS_BURST="1000"
    ) as it:
        yield it


@pytest.fixture
def hooks(hooks_process: Intake, database: None) -> Intake:
    """An intake that is started once; its rates are out of the way."""
    return hooks_process


@pytest.fixture
def start_hooks(stage: Services, database: None) -> Iterator[Callable[..., Intake]]:
    """Start an intake with an environment of the test's own."""
    with ExitStack() as stack:
        yield lambda **environment: stack.enter_context(
            running(stage.databases.hooks, **environment)
        )


@pytest.fixture(scope="session")
def own_postgres_session(stage: Services) -> Iterator[OwnPostgres]:
    with OwnPostgres.started(stage) as server:
        yield server


@pytest.fixture
def own_postgres(own_postgres_session: OwnPostgres) -> OwnPostgres:
    """A server that a test may freeze and kill, with nothing in its tables."""
    own_postgres_session.empty()
    return own_postgres_session


@pytest.fixture
def endpoint_of() -> Callable[[Tenant], tuple[Endpoint, str]]:
    """Make an endpoint for a tenant; the second value is its token."""

    def make(tenant: Tenant) -> tuple[Endpoint, str]:
        with acting_for(tenant):
            return services.create_endpoint(name="Strategy", now=timezone.now())

    return make
