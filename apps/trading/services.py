"""What a person or a client can do to accounts, deployments and orders.

Each of these is one transaction with its events and its row in the audit log. The verbs of orders
are in ``ordering`` and stand here too.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.apps import apps as installed

from apps.accounts import audit
from apps.accounts.audit import Actor
from apps.core import events
from apps.core.errors import DomainError, Invalid, NotFound
from apps.marketdata.models import Instrument
from apps.trading import adopting, placing, switch
from apps.trading.models import BrokerAccount, Deployment, Order, RiskLimits, TradingState
from apps.trading.ordering import (
    NameOfOrderTaken,
    OrderClosed,
    OrderRefused,
    Placed,
    close_position,
    place_order,
    request_cancel,
)

__all__ = [
    "AlreadyDeployed",
    "InvalidLimit",
    "NameOfOrderTaken",
    "NameTaken",
    "OrderClosed",
    "OrderRefused",
    "Placed",
    "UnknownSource",
    "accept_venue_position",
    "close_position",
    "create_deployment",
    "create_paper_account",
    "end_deployment",
    "halt_account",
    "halt_trading",
    "pause_deployment",
    "place_order",
    "rename_account",
    "request_cancel",
    "resume_account",
    "resume_deployment",
    "resume_trading",
    "update_deployment",
    "update_limits",
    "usual_limits",
]

LARGEST_CASH: Final = Decimal(10) ** 12
# A reference to a room on the same floor is a name, as in a foreign key across apps.
SOURCES: Final = {Deployment.Source.ENDPOINT.value: "webhooks.Endpoint"}
LIMITS: Final = frozenset(
    field.name
    for field in RiskLimits._meta.concrete_fields
    if field.name not in ("id", "tenant", "account")
)


class NameTaken(DomainError):
    """Another account of this tenant has the name."""

    code = "name_taken"


class InvalidLimit(Invalid):
    """A limit is unknown or cannot have this value."""

    code = "invalid_limit"


class UnknownSource(Invalid):
    """The source to deploy is not one of this tenant's."""

    code = "unknown_source"


class AlreadyDeployed(DomainError):
    """The source is deployed to this account already."""

    code = "already_deployed"


# --- accounts ------------------------------------------------------------------------------------


def create_paper_account(
    *,
    name: str,
    starting_cash: Decimal,
    by: Actor,
    now: datetime,
    currency: str = "USD",
    limits: Mapping[str, Any] | None = None,
) -> BrokerAccount:
    """Open a paper account with its limits; those not named have their usual values.

    Raises:
        NameTaken, InvalidLimit, Invalid: as they say.
    """
    if not 1 <= starting_cash <= LARGEST_CASH:
        raise Invalid(f"An account starts with 1 to {LARGEST_CASH:,.0f} {currency}.")
    _refuse_taken_name(name)
    account = BrokerAccount.objects.create(
        name=name,
        currency=currency,
        starting_cash=starting_cash,
        cash=starting_cash,
        created_at=now,
    )
    row = RiskLimits(account=account)
    _set_limits(row, limits or {})
    row.save(force_insert=True)
    _tell(account, "account.created", f"Paper account {name} opened.", now=now)
    audit.record(
        action="account.created", subject="account", subject_id=account.pk, by=by, at=now,
        detail={"name": name, "starting_cash": str(starting_cash)},
    )  # fmt: skip
    return account


def rename_account(*, account_id: UUID, name: str, by: Actor, now: datetime) -> BrokerAccount:
    """Call an account something else.

    Raises:
        NameTaken: another account has the name.
    """
    account = _locked_account(account_id)
    if name != account.name:
        _refuse_taken_name(name)
        account.name = name
        account.save(update_fields=["name"])
        audit.record(
            action="account.renamed", subject="account", subject_id=account.pk, by=by, at=now,
            detail={"name": name},
        )  # fmt: skip
    return account


def update_limits(
    *, account_id: UUID, limits: Mapping[str, Any], by: Actor, now: datetime
) -> RiskLimits:
    """Change the limits that are named; null means no limit.

    Raises:
        InvalidLimit: an unknown name or an impossible value; nothing is changed.
    """
    account = _locked_account(account_id)
    row = RiskLimits.objects.filter(account=account).first() or RiskLimits(account=account)
    _set_limits(row, limits)
    row.save()
    said = {name: None if value is None else str(value) for name, value in limits.items()}
    _tell(account, "limits.changed", f"Limits of {account.name} changed.", said, now=now)
    audit.record(
        action="limits.changed", subject="account", subject_id=account.pk, by=by, at=now,
        detail=said,
    )  # fmt: skip
    return row


def usual_limits(account: BrokerAccount) -> RiskLimits:
    """What holds for an account whose limits were never set."""
    return RiskLimits(account=account, tenant_id=account.tenant_id)


def halt_account(
    *, account_id: UUID, reason: str, by: Actor, now: datetime, flatten: bool = False
) -> BrokerAccount:
    """Stop one account: open entries are canceled, and its positions closed if ``flatten``."""
    account = switch.halt_account(account_id=account_id, reason=reason, flatten=flatten, now=now)
    audit.record(
        action="account.halted", subject="account", subject_id=account.pk, by=by, at=now,
        detail={"reason": reason, "flatten": flatten},
    )  # fmt: skip
    return account


def resume_account(*, account_id: UUID, by: Actor, now: datetime) -> BrokerAccount:
    """Let an account trade again, as soon as it agrees with its broker."""
    account = switch.resume_account(account_id=account_id, now=now)
    audit.record(action="account.resumed", subject="account", subject_id=account.pk, by=by, at=now)
    return account


def accept_venue_position(*, account_id: UUID, by: Actor, now: datetime) -> BrokerAccount:
    """Take over what the broker holds where our books differ, at the last price and free of cost.

    Raises:
        adopting.NothingToAccept: our books and the broker's agree.
    """
    account = _locked_account(account_id)
    accepted = adopting.accept(account, now=now)
    audit.record(
        action="account.position_accepted", subject="account", subject_id=account.pk, by=by,
        at=now, detail=accepted,
    )  # fmt: skip
    return account


def _locked_account(account_id: UUID) -> BrokerAccount:
    account = BrokerAccount.objects.select_for_update(no_key=True).filter(pk=account_id).first()
    if account is None:
        raise NotFound("There is no such account.")
    return account


def _refuse_taken_name(name: str) -> None:
    if not 1 <= len(name) <= 80:
        raise Invalid("A name has 1 to 80 characters.")
    if BrokerAccount.objects.filter(name=name).exists():
        raise NameTaken(f"There is an account called {name} already.")


def _set_limits(row: RiskLimits, given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name not in LIMITS:
            raise InvalidLimit(f"There is no limit called {name}.")
        if name == "allowed_instruments":
            value = _known_instruments(value)
        elif value is None and name == "duplicate_window_s":
            raise InvalidLimit("duplicate_window_s is a number of seconds; 0 means never.")
        elif value is not None and (value < 0 or value > LARGEST_CASH):
            raise InvalidLimit(f"{name} must lie between 0 and {LARGEST_CASH:,.0f}.")
        elif name in ("price_band", "max_leverage", "max_daily_loss") and value and value > 100:
            raise InvalidLimit(f"{name} must be at most 100; it is no percentage.")
        setattr(row, name, value)


def _known_instruments(given: Any) -> list[UUID]:
    wanted = list(given or [])
    known = set(Instrument.objects.filter(pk__in=wanted).values_list("pk", flat=True))
    if missing := [str(each) for each in wanted if each not in known]:
        raise InvalidLimit(f"No such instrument: {', '.join(missing)}.")
    return wanted


# --- deployments ---------------------------------------------------------------------------------


def create_deployment(
    *,
    name: str,
    source_id: UUID,
    account_id: UUID,
    by: Actor,
    now: datetime,
    source: str = Deployment.Source.ENDPOINT,
    sizing: str = Deployment.Sizing.SIGNAL,
    size: Decimal = Decimal(1),
    allows_short: bool = True,
) -> Deployment:
    """Send a source's signals to an account.

    Raises:
        UnknownSource, AlreadyDeployed, Invalid, NotFound: as they say.
    """
    account = _locked_account(account_id)
    _check_size(sizing, size)
    label = SOURCES.get(source)
    if label is None or not installed.get_model(label)._default_manager.filter(pk=source_id):
        raise UnknownSource("There is no such source to deploy.")
    if Deployment.objects.filter(
        source=source, source_id=source_id, account=account, ended_at=None
    ).exists():
        raise AlreadyDeployed(f"It is deployed to {account.name} already.")
    deployment = Deployment.objects.create(
        name=name,
        source=source,
        source_id=source_id,
        account=account,
        sizing=sizing,
        size=size,
        allows_short=allows_short,
        created_at=now,
    )
    _note(deployment, "created", f"{name} deployed to {account.name}.", by=by, now=now)
    return deployment


def update_deployment(
    *,
    deployment_id: UUID,
    by: Actor,
    now: datetime,
    name: str | None = None,
    sizing: str | None = None,
    size: Decimal | None = None,
    allows_short: bool | None = None,
) -> Deployment:
    """Change how a deployment sizes what it is told; what is open stays as it is."""
    deployment = _locked_deployment(deployment_id)
    deployment.name = deployment.name if name is None else name
    deployment.sizing = deployment.sizing if sizing is None else sizing
    deployment.size = deployment.size if size is None else size
    if allows_short is not None:
        deployment.allows_short = allows_short
    _check_size(deployment.sizing, deployment.size)
    deployment.save()
    _note(deployment, "changed", f"Deployment {deployment.name} changed.", by=by, now=now)
    return deployment


def pause_deployment(*, deployment_id: UUID, by: Actor, now: datetime) -> Deployment:
    """Let its signals pass by; open orders and positions stay."""
    deployment = _locked_deployment(deployment_id)
    if deployment.is_active:
        deployment.is_active = False
        deployment.save(update_fields=["is_active"])
        _note(deployment, "paused", f"Deployment {deployment.name} paused.", by=by, now=now)
    return deployment


def resume_deployment(*, deployment_id: UUID, by: Actor, now: datetime) -> Deployment:
    """Carry out its signals again, from the next one on."""
    deployment = _locked_deployment(deployment_id)
    if not deployment.is_active:
        deployment.is_active = True
        deployment.save(update_fields=["is_active"])
        _note(deployment, "resumed", f"Deployment {deployment.name} resumed.", by=by, now=now)
    return deployment


def end_deployment(*, deployment_id: UUID, by: Actor, now: datetime) -> None:
    """Take it down for good: its entries are canceled, its exits and positions stay."""
    deployment = _locked_deployment(deployment_id)
    deployment.is_active, deployment.ended_at = False, now
    deployment.save(update_fields=["is_active", "ended_at"])
    switch.cancel_entries(Order.objects.filter(deployment=deployment), now=now)
    placing.wake_desk()
    _note(deployment, "ended", f"Deployment {deployment.name} ended.", by=by, now=now)


def _locked_deployment(deployment_id: UUID) -> Deployment:
    rows = Deployment.objects.select_for_update(no_key=True, of=("self",))
    found = rows.select_related("account").filter(pk=deployment_id, ended_at=None).first()
    if found is None:
        raise NotFound("There is no such deployment.")
    return found


def _check_size(sizing: str, size: Decimal) -> None:
    if sizing not in Deployment.Sizing.values:
        raise Invalid(f"There is no sizing called {sizing}.")
    if not 0 < size <= LARGEST_CASH:
        raise Invalid("The size must be positive.")
    if sizing in (Deployment.Sizing.EQUITY, Deployment.Sizing.RISK) and size > 10:
        raise Invalid("The size is a fraction of equity: 0.02 is two percent.")


# --- the kill switch -----------------------------------------------------------------------------


def halt_trading(*, reason: str, by: Actor, now: datetime, flatten: bool = False) -> TradingState:
    """Throw the tenant's kill switch; see ``switch.halt``."""
    state = switch.halt(reason=reason, flatten=flatten, now=now)
    audit.record(
        action="trading.halted", subject="switch", subject_id=state.pk, by=by, at=now,
        detail={"reason": reason, "flatten": flatten},
    )  # fmt: skip
    return state


def resume_trading(*, by: Actor, now: datetime) -> TradingState:
    """Let the tenant trade again."""
    state = switch.resume(now=now)
    audit.record(action="trading.resumed", subject="switch", subject_id=state.pk, by=by, at=now)
    return state


def _tell(
    account: BrokerAccount,
    kind: str,
    text: str,
    payload: Mapping[str, Any] | None = None,
    *,
    now: datetime,
) -> None:
    events.append(
        kind=kind, subject="account", subject_id=account.pk, at=now, text=text, payload=payload
    )


def _note(deployment: Deployment, what: str, text: str, *, by: Actor, now: datetime) -> None:
    detail = {
        "name": deployment.name,
        "account": str(deployment.account_id),
        "sizing": deployment.sizing,
        "size": str(deployment.size),
        "allows_short": deployment.allows_short,
    }
    events.append(
        kind=f"deployment.{what}",
        subject="deployment",
        subject_id=deployment.pk,
        at=now,
        text=text,
        payload=detail,
    )
    audit.record(
        action=f"deployment.{what}", subject="deployment", subject_id=deployment.pk, by=by,
        at=now, detail=detail,
    )  # fmt: skip
