"""Whether an account and its broker agree; until they do, no entry is sent (invariant 10)."""

from datetime import datetime
from uuid import UUID

from apps.core import events
from apps.core.tenancy import acting_across
from apps.trading import learning, wording
from apps.trading.brokers import BROKERS
from apps.trading.models import ZERO, BrokerAccount, Order, Position

IN_DOUBT = (Order.Status.SUBMITTING, Order.Status.UNKNOWN)
Differences = dict[str, dict[str, str]]


def begin(*, now: datetime) -> int:
    """Look at every account before the desk's first send; how many must be reconciled."""
    learning.collect(now=now)
    with acting_across("desk: accounts at start"):
        accounts = list(BrokerAccount.objects.filter(state=BrokerAccount.State.ACTIVE))
        doubtful = _accounts_in_doubt()
    unclear = [
        account.pk for account in accounts if account.pk in doubtful or _differences(account)
    ]
    with acting_across("desk: reconcile at start"):
        rows = BrokerAccount.objects.filter(pk__in=unclear, state=BrokerAccount.State.ACTIVE)
        for account in rows.select_for_update(no_key=True).order_by("pk"):
            account.state = BrokerAccount.State.RECONCILING
            account.save(update_fields=["state"])
            _tell(account, "account.reconciling", "is compared with its broker", now=now)
    settle(now=now)
    return len(unclear)


def settle(*, now: datetime) -> int:
    """Let accounts trade again that agree with their broker; tell of those that do not."""
    with acting_across("desk: accounts to reconcile"):
        waiting = BrokerAccount.objects.filter(state=BrokerAccount.State.RECONCILING)
        doubtful = _accounts_in_doubt() if (accounts := list(waiting)) else set()
    done = 0
    for account in accounts:
        if account.pk not in doubtful:
            differences = _differences(account)
            if differences:
                # A fill may have come between the two looks.
                learning.collect(now=now)
                differences = _differences(account)
            done += _conclude(account.pk, differences, now=now)
    return done


def _conclude(account_id: UUID, differences: Differences, *, now: datetime) -> int:
    with acting_across("desk: conclude a reconciliation"):
        account = BrokerAccount.objects.select_for_update(no_key=True).get(pk=account_id)
        if account.state != BrokerAccount.State.RECONCILING:
            return 0
        if differences == account.differences and differences:
            return 0
        account.differences = differences
        if not differences:
            account.state = BrokerAccount.State.ACTIVE
            _tell(account, "account.reconciled", "agrees with its broker", now=now)
        else:
            _tell(account, "account.differs", _sentence(differences), now=now)
        account.save(update_fields=["state", "differences"])
        return 1


def _accounts_in_doubt() -> set[UUID]:
    return set(Order.objects.filter(status__in=IN_DOUBT).values_list("account_id", flat=True))


def _differences(account: BrokerAccount) -> Differences:
    """Where the broker holds something else than is booked."""
    venue = BROKERS[account.broker].positions(account)
    with acting_across("desk: compare positions"):
        rows = Position.objects.filter(account=account).exclude(quantity=0)
        booked = dict(rows.values_list("instrument_id", "quantity"))
    return {
        str(key): {
            "booked": wording.plain(booked.get(key, ZERO)),
            "venue": wording.plain(venue.get(key, ZERO)),
        }
        for key in sorted({*venue, *booked})
        if venue.get(key, ZERO) != booked.get(key, ZERO)
    }


def _sentence(differences: Differences) -> str:
    count = len(differences)
    what = "one position" if count == 1 else f"{count} positions"
    return (
        f"differs from its broker in {what}. No entries until that is gone or the broker's"
        " positions are accepted"
    )


def _tell(account: BrokerAccount, kind: str, text: str, *, now: datetime) -> None:
    events.append(
        kind=kind,
        subject="account",
        subject_id=account.pk,
        at=now,
        tenant_id=account.tenant_id,
        text=f"{account.name} {text}.",
        payload={"state": account.state, "differences": account.differences},
    )
