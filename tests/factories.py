"""The cast and the props: the least that a test needs, made by the service's own verbs."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from django.test import Client

    from apps.accounts.models import Tenant, User
    from apps.marketdata.models import Instrument
    from apps.trading.models import BrokerAccount, Deployment, Order
    from apps.webhooks.models import Alert, Endpoint


NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
PASSWORD = "correct horse battery staple"


def make_tenant(email: str, name: str) -> "Tenant":
    """A user with a tenant of their own."""
    from apps.accounts.models import Membership, Tenant, User
    from apps.core.tenancy import acting_for

    user = User.objects.create_user(email, PASSWORD, name=name)
    tenant = Tenant(name=name)
    with acting_for(tenant):
        tenant.save(force_insert=True)
        Membership.objects.create(user=user, role="owner")
    tenant.owner = user  # type: ignore[attr-defined]
    return tenant


def make_member(tenant: "Tenant", email: str, role: str) -> "User":
    from apps.accounts.models import Membership, User
    from apps.core.tenancy import acting_for

    user = User.objects.create_user(email, PASSWORD, name=email.split("@")[0].title())
    with acting_for(tenant):
        Membership.objects.create(user=user, role=role)
    return user


def make_client(who: "User | Tenant") -> "Client":
    from django.test import Client

    client = Client()
    client.force_login(getattr(who, "owner", who))  # type: ignore[arg-type]
    return client


def make_instrument(symbol: str = "BTCUSD", **overrides: Any) -> "Instrument":
    from apps.core.tenancy import acting_across
    from apps.marketdata.models import Instrument

    values: dict[str, Any] = {
        "symbol": symbol,
        "exchange": "TEST",
        "name": symbol,
        "asset_class": "crypto",
        "currency": "USD",
        "tick_size": Decimal("0.01"),
        "lot_size": Decimal("0.0001"),
        "fee_rate": Decimal("0.001"),
        "slippage_ticks": 0,
    }
    with acting_across("test: set the stage"):
        return Instrument.objects.create(**(values | overrides))


def make_account(tenant: "Tenant", name: str = "Paper", **overrides: Any) -> "BrokerAccount":
    from apps.core.tenancy import acting_for
    from apps.trading.models import BrokerAccount

    cash = overrides.pop("cash", Decimal(100_000))
    with acting_for(tenant):
        return BrokerAccount.objects.create(name=name, starting_cash=cash, cash=cash, **overrides)


def make_endpoint(tenant: "Tenant", token: str = "token", **overrides: Any) -> "Endpoint":
    import hashlib

    from apps.core.tenancy import acting_for
    from apps.webhooks.models import Endpoint

    with acting_for(tenant):
        return Endpoint.objects.create(
            **{
                "name": "Strategy",
                "token_digest": hashlib.sha256(token.encode()).digest(),
                "token_hint": token[-4:],
            }
            | overrides
        )


def make_deployment(
    tenant: "Tenant", endpoint: "Endpoint | UUID", account: "BrokerAccount", **overrides: Any
) -> "Deployment":
    from apps.core.tenancy import acting_for
    from apps.trading.models import Deployment

    with acting_for(tenant):
        return Deployment.objects.create(
            **{
                "name": "Strategy on paper",
                "source_id": getattr(endpoint, "pk", endpoint),
                "account": account,
            }
            | overrides
        )


def make_alert(tenant: "Tenant", endpoint: "Endpoint", body: bytes | str) -> "Alert":
    """As the intake would have stored it."""
    from apps.core.tenancy import acting_for
    from apps.webhooks.models import Alert

    raw = body if isinstance(body, bytes) else body.encode()
    with acting_for(tenant):
        return Alert.objects.create(endpoint=endpoint, body=raw)


def make_order(
    tenant: "Tenant", account: "BrokerAccount", instrument: "Instrument", **overrides: Any
) -> "Order":
    from apps.core.ids import uuid7
    from apps.core.tenancy import acting_for
    from apps.trading.models import Order

    values: dict[str, Any] = {
        "client_order_id": f"pl-{uuid7().hex}-0",
        "account": account,
        "instrument": instrument,
        "side": "buy",
        "kind": "market",
        "quantity": Decimal(1),
        "risk": {"passed": True},
        "created_at": NOON,
    }
    with acting_for(tenant):
        return Order.objects.create(**(values | overrides))
