"""Invariant 15: from the commit of a halt on no entry is claimed; exits and cancels pass."""

import threading
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.utils import timezone

from apps.accounts.models import Tenant
from apps.core.models import Event
from apps.core.tenancy import acting_across, acting_for
from apps.trading import desk, sending, switch
from apps.trading.models import BrokerAccount, Order, Position, ServiceState
from tests.apps.trading.conftest import Market
from tests.factories import NOON, make_account, make_order

OrderOf = Callable[..., Order]
Throw = Callable[..., None]


def by_tenant(account: BrokerAccount, *, flatten: bool = False) -> None:
    with acting_for(account.tenant_id):
        switch.halt(reason="test", flatten=flatten, now=timezone.now())


def by_account(account: BrokerAccount, *, flatten: bool = False) -> None:
    with acting_for(account.tenant_id):
        switch.halt_account(
            account_id=account.pk, reason="test", flatten=flatten, now=timezone.now()
        )


def by_operator(account: BrokerAccount, *, flatten: bool = False) -> None:
    call_command("halt", reason="test", flatten=flatten, verbosity=0)


THROWS = pytest.mark.parametrize("throw", [by_tenant, by_account, by_operator])


def statuses(tenant: Tenant) -> dict[str, int]:
    with acting_for(tenant):
        found: dict[str, int] = {}
        for status in Order.objects.values_list("status", flat=True):
            found[status] = found.get(status, 0) + 1
        return found


class TestAHalt:
    @THROWS
    def test_lets_exits_and_cancellations_pass_and_no_entry(
        self, throw: Throw, order_of: OrderOf, account: BrokerAccount, alice: Tenant, market: Market
    ) -> None:
        market.open(100)
        throw(account)
        now = timezone.now()
        entry, exit_ = order_of(created_at=now), order_of(created_at=now, reduce_only=True)

        desk.dispatch(now=now)

        with acting_for(alice):
            entry.refresh_from_db()
            exit_.refresh_from_db()
        assert (entry.status, entry.status_code) == ("canceled", "halted")
        assert exit_.status == "accepted"

    @THROWS
    def test_cancels_open_entries_with_their_children_and_leaves_protection(
        self, throw: Throw, order_of: OrderOf, account: BrokerAccount, alice: Tenant, market: Market
    ) -> None:
        market.open(100)
        now = timezone.now()
        entry = order_of(created_at=now, kind="limit", limit_price=Decimal(50))
        order_of(
            created_at=now, parent=entry, side="sell", kind="stop", stop_price=Decimal(40),
            reduce_only=True,
        )  # fmt: skip
        order_of(created_at=now, side="sell", kind="stop", stop_price=Decimal(80), reduce_only=True)
        desk.work(now=now)

        throw(account)
        desk.work(now=timezone.now())

        assert statuses(alice) == {"canceled": 2, "accepted": 1}

    @THROWS
    def test_flattens_also_what_fills_after_it(
        self, throw: Throw, order_of: OrderOf, account: BrokerAccount, alice: Tenant, market: Market
    ) -> None:
        market.open(100)
        order_of(created_at=timezone.now(), quantity=Decimal(2))
        desk.work(now=timezone.now())
        market.close(100).open(100)
        desk.work(now=timezone.now())
        # An entry that the venue fills before it hears of the cancellation.
        order_of(created_at=timezone.now(), quantity=Decimal(3))
        desk.dispatch(now=timezone.now())

        throw(account, flatten=True)
        desk.dispatch(now=timezone.now())
        market.close(100).open(101)
        desk.step_paper_market(now=timezone.now())
        desk.collect(now=timezone.now())
        desk.reconcile(now=timezone.now())
        desk.work(now=timezone.now())
        market.close(101).open(102)
        desk.work(now=timezone.now())
        desk.reconcile(now=timezone.now())

        with acting_for(alice):
            assert Position.objects.get().quantity == 0
            assert not Order.objects.filter(status__in=Order.OPEN).exists()
            assert all(order.reduce_only for order in Order.objects.filter(role="flatten"))

    @THROWS
    def test_thrown_twice_flattens_once(
        self, throw: Throw, order_of: OrderOf, account: BrokerAccount, alice: Tenant, btc: Any
    ) -> None:
        with acting_for(alice):
            Position.objects.create(
                account=account, instrument=btc, quantity=Decimal(-2), cost=Decimal(-200)
            )

        throw(account, flatten=True)
        throw(account, flatten=True)

        with acting_for(alice):
            order = Order.objects.get()
            assert (order.side, order.quantity, order.reduce_only) == ("buy", 2, True)

    def test_of_one_tenant_is_no_other_tenants(
        self, account: BrokerAccount, alice: Tenant, bob: Tenant, btc: Any, market: Market
    ) -> None:
        market.open(100)
        theirs = make_account(bob)
        make_order(bob, theirs, btc, created_at=timezone.now())

        by_tenant(account)
        desk.dispatch(now=timezone.now())

        assert statuses(bob) == {"accepted": 1}

    def test_of_the_operator_is_told_to_all_and_lifted_by_them(
        self, account: BrokerAccount, alice: Tenant, bob: Tenant
    ) -> None:
        make_account(bob)

        by_operator(account)
        call_command("resume", verbosity=0)

        for tenant in (alice, bob):
            with acting_for(tenant):
                kinds = list(Event.objects.order_by("sequence").values_list("kind", flat=True))
                assert kinds == ["trading.halted", "trading.resumed"]
        with acting_across("test"):
            assert not ServiceState.objects.get().is_halted


class TestResuming:
    def test_a_tenant(self, account: BrokerAccount, alice: Tenant) -> None:
        by_tenant(account)

        with acting_for(alice):
            switch.resume(now=NOON)
            assert not switch.state().is_halted

    @pytest.mark.parametrize(
        ("status", "state"), [("accepted", "active"), ("unknown", "reconciling")]
    )
    def test_an_account_with_an_order_in_doubt_is_reconciled_first(
        self, account: BrokerAccount, alice: Tenant, order_of: OrderOf, status: str, state: str
    ) -> None:
        by_account(account)
        order_of(status=status, submitted_at=NOON)

        with acting_for(alice):
            assert switch.resume_account(account_id=account.pk, now=NOON).state == state


class TestARace:
    @THROWS
    @pytest.mark.parametrize("is_first", [True, False])
    def test_no_entry_is_claimed_after_a_halt_has_committed(
        self,
        throw: Throw,
        order_of: OrderOf,
        account: BrokerAccount,
        alice: Tenant,
        is_first: bool,
    ) -> None:
        """Mutant, tried: with a plain read instead of the share lock the halt does not wait."""
        if not is_first:
            # The first halt of all makes the row that later ones find.
            with acting_for(alice):
                switch.resume(now=NOON)
        order_of(created_at=timezone.now())
        halted_at: list[datetime] = []
        inside, thrown = threading.Event(), threading.Event()
        look = sending._reason_not_to_send

        def slow(*args: Any, **options: Any) -> Any:
            # Between the look at the switch and the claim's commit.
            inside.set()
            assert not thrown.wait(0.5), "the halt committed in the middle of a claim"
            return look(*args, **options)

        def halt() -> None:
            inside.wait()
            throw(account)
            halted_at.append(timezone.now())
            thrown.set()
            for connection in connections.all():
                connection.close()

        thread = threading.Thread(target=halt)
        thread.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sending, "_reason_not_to_send", slow)
            # An order may be written after the halt has looked for what to cancel: then only the
            # switch itself stands between it and the venue.
            patch.setattr(switch, "cancel_entries", lambda orders, now: 0)
            tickets = sending.claim(now=timezone.now())
        claimed_at = timezone.now()
        thread.join()
        order_of(created_at=timezone.now())

        assert len(tickets) == 1
        assert halted_at[0] >= claimed_at or thrown.is_set()
        assert sending.claim(now=timezone.now()) == []
