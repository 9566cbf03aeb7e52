"""One service and one browser for all tests here."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.e2e import browser as browsers
from tests.e2e import service as services
from tests.e2e import visitor
from tests.e2e.service import Service


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    with services.running() as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not os.environ.get("PINELAB_CHROMIUM"):
        pytest.skip("no browser: PINELAB_CHROMIUM names none (`make test` looks for one)")
    with browsers.launched() as launched:
        yield launched


@pytest.fixture(scope="session")
def demo(browser: Browser, service: Service) -> Any:
    """The cookies of the demo's user, so that not every test logs in."""
    with browsers.person(browser, service.url) as (page, _):
        visitor.log_in(page, service.demo["email"], service.demo["password"])
        return page.context.storage_state()
