"""A market to trade in, an account to trade with, and everybody who may knock at a door."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from apps.accounts.models import Membership, Tenant, User
from apps.core.tenancy import acting_across, acting_for
from apps.marketdata import feed
from apps.marketdata.models import Instrument
from apps.trading.brokers import BROKERS
from apps.trading.models import BrokerAccount, Order
from tests.apps.trading.venues import FakeVenue
from tests.factories import NOON, PASSWORD, make_account, make_instrument, make_order


class Market:
    """One instrument's bars, opened and closed by hand."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.minute = -1

    def open(self, price: str | int) -> "Market":
        self.minute += 1
        with acting_across("test: market"):
            feed.open_bar(self.instrument, self.at, Decimal(price))
        return self

    def tick(self, *prices: str | int) -> "Market":
        with acting_across("test: market"):
            for price in prices:
                feed.tick(self.instrument, self.at, Decimal(price))
        return self

    def close(self, price: str | int) -> "Market":
        with acting_across("test: market"):
            feed.close_bar(self.instrument, self.at, Decimal(price))
        return self

    def bar(self, *prices: str | int) -> "Market":
        """A whole bar: its open, what it passed, its close."""
        return self.open(prices[0]).tick(*prices[1:-1]).close(prices[-1])

    @property
    def at(self) -> Any:
        return NOON + timedelta(minutes=self.minute)


@pytest.fixture
def venue(monkeypatch: pytest.MonkeyPatch) -> FakeVenue:
    """A venue of the test's own, in place of the paper one."""
    fake = FakeVenue()
    monkeypatch.setitem(BROKERS, "paper", fake)
    return fake


@pytest.fixture
def btc(database: None) -> Instrument:
    return make_instrument()


@pytest.fixture
def market(btc: Instrument) -> Market:
    return Market(btc)


@pytest.fixture
def account(alice: Tenant) -> BrokerAccount:
    return make_account(alice)


@pytest.fixture
def order_of(alice: Tenant, account: BrokerAccount, btc: Instrument) -> Callable[..., Order]:
    """An order of Alice's, new unless said otherwise."""

    def make(**overrides: Any) -> Order:
        own = {"account": account, "instrument": btc} | overrides
        return make_order(alice, own.pop("account"), own.pop("instrument"), **own)

    return make


@pytest.fixture
def owner(alice: Tenant) -> User:
    with acting_for(alice):
        return Membership.objects.select_related("user").get(role="owner").user


@pytest.fixture
def trader(alice: Tenant) -> User:
    user = User.objects.create_user("tess@example.com", PASSWORD)
    with acting_for(alice):
        Membership.objects.create(user=user, role="trader")
    return user
