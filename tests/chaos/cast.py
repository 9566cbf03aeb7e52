"""Makes tenants that are ready to trade, by the service's own verbs, and prints them as JSON.

A process of its own, `python -m tests.chaos.cast COUNT`: the test's Django knows other servers.
"""

import dataclasses
import json
import secrets
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apps.marketdata.models import Instrument

SYMBOLS = ("AAAUSD", "BBBUSD", "CCCUSD")
CASH = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Player:
    """One tenant, with everything that a test needs to speak for it."""

    name: str
    tenant_id: str
    endpoint_id: str
    account_id: str
    deployment_id: str
    token: str
    key: str
    session: str


def main() -> None:
    import django

    django.setup()
    from django.conf import settings

    # Argon2 is slow on purpose, and each of them has a password.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    from tests.factories import make_instrument

    instruments = [make_instrument(symbol) for symbol in SYMBOLS]
    players = [make_player(number) for number in range(int(sys.argv[1]))]
    open_market(instruments)
    sys.stdout.write(json.dumps([dataclasses.asdict(player) for player in players]))


def make_player(number: int) -> Player:
    from django.conf import settings
    from django.utils import timezone

    from apps.accounts.services import create_api_key
    from apps.core.tenancy import acting_for
    from apps.trading.models import RiskLimits
    from tests import factories

    tenant = factories.make_tenant(f"player{number}@example.com", f"Player {number}")
    token = secrets.token_urlsafe(32)
    endpoint = factories.make_endpoint(tenant, token, name=f"Endpoint of {number}")
    account = factories.make_account(tenant, cash=CASH)
    deployment = factories.make_deployment(tenant, endpoint, account)
    with acting_for(tenant):
        # Nothing but the test itself limits what is traded.
        RiskLimits.objects.create(
            account=account,
            max_order_notional=None,
            max_position_notional=None,
            max_orders_per_minute=None,
            max_open_positions=None,
            max_leverage=None,
            max_daily_loss=None,
        )
        _, key = create_api_key(
            user=tenant.owner,  # type: ignore[attr-defined]
            name="chaos",
            scopes=["read", "trade", "manage"],
            expires_at=None,
            now=timezone.now(),
        )
    session = factories.make_client(tenant).cookies[settings.SESSION_COOKIE_NAME].value
    return Player(
        f"Player {number}",
        str(tenant.pk),
        str(endpoint.pk),
        str(account.pk),
        str(deployment.pk),
        token,
        key,
        session,
    )


def open_market(instruments: "list[Instrument]") -> None:
    """The first price of each instrument, so that everything can be sized from the start."""
    from apps.core.tenancy import acting_across
    from apps.marketdata import feed
    from tests.factories import NOON

    with acting_across("chaos: open the market"):
        for instrument in instruments:
            feed.open_bar(instrument, NOON, Decimal(100))


if __name__ == "__main__":
    main()
