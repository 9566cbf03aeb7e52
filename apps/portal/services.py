"""The first steps at one press."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from apps.accounts.audit import Actor
from apps.accounts.models import Tenant
from apps.core.errors import DomainError
from apps.trading import services as trading
from apps.trading.models import BrokerAccount, Deployment
from apps.webhooks import services as webhooks
from apps.webhooks.models import Endpoint

FIRST_CASH: Final = Decimal(100_000)


class StartedAlready(DomainError):
    """An endpoint is deployed; its address was shown when it was made."""

    code = "started_already"


@dataclass(frozen=True, slots=True)
class Start:
    """All that is needed for a first alert; the token is known only now."""

    account: BrokerAccount
    endpoint: Endpoint
    deployment: Deployment
    token: str


def start(*, by: Actor, now: datetime, limits: Mapping[str, Any] | None = None) -> Start:
    """Make a paper account of 100,000 USD, an endpoint, and deploy the one to the other.

    Args:
        limits: of the account, if it is made; the usual ones by default.

    Raises:
        StartedAlready: something is deployed.
    """
    # Pressed twice, it happens one after the other, and the second finds the first.
    Tenant.objects.select_for_update(no_key=True).get()
    if Deployment.objects.filter(is_active=True).exists():
        raise StartedAlready("An endpoint is deployed already: its address was shown once.")
    account = BrokerAccount.objects.filter(mode="paper").order_by("pk").first()
    if account is None:
        account = trading.create_paper_account(
            name="Paper", starting_cash=FIRST_CASH, limits=limits, by=by, now=now
        )
    endpoint, token = webhooks.create_endpoint(name="TradingView", now=now, by=by)
    deployment = trading.create_deployment(
        name=f"{endpoint.name} on {account.name}"[:80],
        source_id=endpoint.pk,
        account_id=account.pk,
        by=by,
        now=now,
    )
    return Start(account, endpoint, deployment, token)
