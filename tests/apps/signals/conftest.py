"""A stage with a market that is open, an endpoint, and an account it is deployed to."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from apps.accounts.models import Tenant
from apps.core.tenancy import acting_across, acting_for
from apps.marketdata import feed
from apps.marketdata.models import Instrument
from apps.signals import pipeline
from apps.signals.models import Decision
from apps.trading.models import BrokerAccount, Deployment, Order
from apps.webhooks.models import Alert, Endpoint
from tests.factories import (
    NOON,
    make_account,
    make_alert,
    make_deployment,
    make_endpoint,
    make_instrument,
)


@dataclass
class Desk:
    """What a test of the pipeline plays with."""

    tenant: Tenant
    instrument: Instrument
    endpoint: Endpoint
    account: BrokerAccount
    deployment: Deployment

    def post(self, body: dict[str, Any] | bytes | str) -> Alert:
        """An alert as the intake stores it; a mapping fires now, unless it says when."""
        if isinstance(body, dict):
            body = json.dumps({"fired_at": timezone.now().isoformat()} | body)
        return make_alert(self.tenant, self.endpoint, body)

    def decide(self, body: dict[str, Any] | bytes | str) -> Decision:
        alert = self.post(body)
        pipeline.take()
        with acting_for(self.tenant):
            return Decision.objects.select_related("signal").get(alert=alert)

    def orders(self) -> list[Order]:
        with acting_for(self.tenant):
            return list(Order.objects.order_by("pk"))


def open_bar(instrument: Instrument, minute: int, price: str) -> None:
    with acting_across("test: market"):
        feed.open_bar(instrument, NOON + timedelta(minutes=minute), Decimal(price))


def close_bar(instrument: Instrument, minute: int, price: str) -> None:
    with acting_across("test: market"):
        feed.close_bar(instrument, NOON + timedelta(minutes=minute), Decimal(price))


@pytest.fixture
def stage_for(database: None) -> Callable[[Tenant], Desk]:
    def build(tenant: Tenant) -> Desk:
        instrument = Instrument.objects.filter(symbol="BTCUSD").first()
        if instrument is None:
            instrument = make_instrument()
            open_bar(instrument, 0, "100")
        endpoint = make_endpoint(tenant, token=f"token-{tenant.name}")
        account = make_account(tenant)
        return Desk(
            tenant, instrument, endpoint, account, make_deployment(tenant, endpoint, account)
        )

    return build


@pytest.fixture
def desk(alice: Tenant, stage_for: Callable[[Tenant], Desk]) -> Desk:
    return stage_for(alice)
