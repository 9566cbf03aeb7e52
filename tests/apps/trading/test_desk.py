"""Invariants 8, 9, 11: never two orders for one intent, written before sent, unknown until said."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from apps.accounts.models import Tenant
from apps.core.models import Event
from apps.core.tenancy import acting_for
from apps.trading import desk, sending
from apps.trading.brokers.base import Execution, VenueOrder
from apps.trading.models import BrokerAccount, Fill, Order
from pinelab.embedded import Services
from tests.apps.trading.venues import FakeVenue, committed
from tests.factories import NOON

OrderOf = Callable[..., Order]


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.fixture
def status(alice: Tenant) -> Callable[..., Any]:
    def read(order: Order) -> tuple[str, str]:
        with acting_for(alice):
            order.refresh_from_db()
            return order.status, order.status_code

    return read


def bracket(order_of: OrderOf, **overrides: Any) -> list[Order]:
    entry = order_of(**overrides)
    away = {"side": "sell", "parent": entry, "reduce_only": True, **overrides}
    return [
        entry,
        order_of(kind="stop", stop_price=Decimal(90), role="stop", **away),
        order_of(kind="limit", limit_price=Decimal(120), role="target", **away),
    ]


class TestWrittenBeforeSent:
    def test_the_row_is_committed_with_its_risk_check_before_each_post(
        self, order_of: OrderOf, venue: FakeVenue, stage: Services
    ) -> None:
        """Mutant, tried: submitting inside the claim's transaction finds the row still new."""
        seen: list[tuple[str, bool]] = []
        assert stage.admin_url
        url = stage.admin_url
        venue.on_post = lambda order: seen.append(committed(order, url))
        bracket(order_of)
        order_of()

        desk.dispatch(now=NOON)

        assert seen == [("submitting", True)] * 4


class TestAnswers:
    @pytest.mark.parametrize(
        ("mood", "expected"),
        [
            ("ok", ("accepted", "")),
            ("refuse", ("rejected", "margin")),
            ("cut_before", ("unknown", "in_doubt")),
            ("cut_after", ("unknown", "in_doubt")),
            ("silent", ("unknown", "in_doubt")),
            ("late", ("unknown", "in_doubt")),
        ],
    )
    def test_become_a_status_of_the_whole_family(
        self, order_of: OrderOf, venue: FakeVenue, status: Any, mood: str, expected: Any
    ) -> None:
        family = bracket(order_of)
        venue.mood = mood

        desk.dispatch(now=NOON)

        assert [status(order) for order in family] == [expected] * 3

    def test_nothing_is_sent_twice(self, order_of: OrderOf, venue: FakeVenue) -> None:
        order_of()

        for _ in range(3):
            desk.dispatch(now=NOON)

        assert venue.posts == 1

    def test_what_waited_too_long_is_not_sent(
        self, order_of: OrderOf, venue: FakeVenue, status: Any
    ) -> None:
        entry, exit_ = order_of(), order_of(reduce_only=True)

        desk.dispatch(now=after(61))

        assert status(entry) == ("canceled", "too_late")
        assert status(exit_) == ("accepted", "")


class TestUnknown:
    def test_stays_so_until_the_venue_says(
        self, order_of: OrderOf, venue: FakeVenue, status: Any
    ) -> None:
        order, venue.mood = order_of(), "cut_after"
        desk.dispatch(now=NOON)
        venue.is_away, venue.mood = True, "ok"

        for minute in range(5):
            desk.reconcile(now=after(60 * minute))
            desk.dispatch(now=after(60 * minute))

        assert status(order)[0] == "unknown"
        assert venue.posts == 1
        venue.is_away = False
        desk.reconcile(now=after(400))
        assert status(order) == ("accepted", "")

    def test_never_arrived_is_believed_only_after_the_grace(
        self, order_of: OrderOf, venue: FakeVenue, status: Any
    ) -> None:
        """Mutants, tried: no grace, and immediate retry, send the late order a second time."""
        order, venue.mood = order_of(), "late"
        desk.dispatch(now=NOON)
        venue.mood = "ok"

        desk.reconcile(now=after(9))
        desk.dispatch(now=after(9))
        assert status(order)[0] == "unknown"
        venue.deliver()
        desk.reconcile(now=after(11))
        desk.dispatch(now=after(11))

        assert status(order)[0] == "accepted"
        assert venue.names() == [order.client_order_id]

    def test_what_never_arrived_goes_again_under_its_own_name(
        self, order_of: OrderOf, venue: FakeVenue, status: Any
    ) -> None:
        family, venue.mood = bracket(order_of), "cut_before"
        desk.dispatch(now=NOON)
        venue.mood = "ok"

        desk.reconcile(now=after(10))
        assert [status(order) for order in family] == [("new", "never_arrived")] * 3
        desk.dispatch(now=after(10))

        assert [status(order)[0] for order in family] == ["accepted"] * 3
        assert sorted(venue.names()) == sorted(order.client_order_id for order in family)

    def test_an_entry_taken_without_its_stop_is_told(
        self, order_of: OrderOf, venue: FakeVenue, status: Any
    ) -> None:
        family, venue.mood = bracket(order_of), "cut_after"
        desk.dispatch(now=NOON)
        venue.orders = venue.orders[:1]

        desk.reconcile(now=after(11))

        assert status(family[0])[0] == "accepted"
        assert status(family[1]) == ("rejected", "never_arrived")

    def test_a_send_that_was_interrupted_is_in_doubt(
        self, order_of: OrderOf, venue: FakeVenue, status: Any
    ) -> None:
        order, venue.mood = order_of(), "crash"
        with pytest.raises(KeyboardInterrupt):
            desk.dispatch(now=NOON)
        assert status(order)[0] == "submitting"

        desk.reconcile(now=after(4))
        assert status(order)[0] == "submitting"
        desk.reconcile(now=after(6))

        assert status(order) == ("accepted", "")

    def test_for_long_is_told_once_and_blocks_its_source(
        self, order_of: OrderOf, venue: FakeVenue, alice: Tenant, status: Any
    ) -> None:
        order, venue.mood = order_of(), "cut_after"
        desk.dispatch(now=NOON)
        venue.is_away = True

        for second in (59, 61, 63):
            desk.reconcile(now=after(second))

        assert status(order) == ("unknown", "in_doubt_long")
        with acting_for(alice):
            assert Event.objects.filter(kind="order.in_doubt_long").count() == 1

    def test_a_cancellation_waits_for_the_venues_word(
        self, order_of: OrderOf, venue: FakeVenue, status: Any
    ) -> None:
        order, venue.mood = order_of(cancel_requested_at=None), "cut_after"
        desk.dispatch(now=NOON)
        with acting_for(order.tenant_id):
            Order.objects.filter(pk=order.pk).update(cancel_requested_at=NOON)

        desk.cancel_requested(now=after(1))
        assert status(order)[0] == "unknown"
        desk.reconcile(now=after(2))
        desk.cancel_requested(now=after(2))

        assert status(order)[0] == "canceled"


class TestNeverTwo:
    @pytest.mark.parametrize("seed", range(6))
    def test_orders_for_one_intent_however_the_line_breaks(
        self, order_of: OrderOf, venue: FakeVenue, status: Any, seed: int
    ) -> None:
        """Mutants, tried: grace 0 and a retry on doubt both leave doubles at the venue."""
        random = Random(seed)
        orders = [order_of(reduce_only=True) for _ in range(12)]
        for step in range(60):
            now = after(step * 2)
            venue.mood = random.choice(["ok", "cut_before", "cut_after", "late", "silent", "crash"])
            venue.is_away = random.random() < 0.3
            if random.random() < 0.6:
                # An order on its way arrives within the grace.
                venue.deliver()
            try:
                desk.dispatch(now=now)
            except KeyboardInterrupt:
                continue
            if step % 4 == 3:
                venue.deliver()
            desk.reconcile(now=now)
        venue.mood, venue.is_away = "ok", False
        venue.deliver()
        for step in range(60, 75):
            desk.reconcile(now=after(step * 2))
            desk.dispatch(now=after(step * 2))

        assert sorted(venue.names()) == sorted(order.client_order_id for order in orders)
        assert {status(order)[0] for order in orders} == {"accepted"}


class TestLearning:
    def test_a_fill_and_what_the_venue_says_of_the_rest(
        self,
        order_of: OrderOf,
        venue: FakeVenue,
        alice: Tenant,
        account: BrokerAccount,
        status: Any,
    ) -> None:
        """A reduce-only order may be for more than is held: it fills less, and that is its end."""
        order = order_of(quantity=Decimal(3), status="accepted")
        seen = VenueOrder(order.client_order_id, "v", "filled", Decimal(2))
        venue.orders = [seen]

        # The venue's word comes before its execution: the order must wait for it.
        desk.poll(now=NOON)
        assert status(order)[0] == "accepted"
        venue.made = [
            Execution(
                account.pk, alice.pk, 1, "e1", order.client_order_id, "buy", Decimal(2),
                Decimal(100), Decimal(0), NOON,
            )
        ]  # fmt: skip
        desk.collect(now=NOON)

        assert status(order) == ("canceled", "nothing_to_reduce")
        with acting_for(alice):
            assert Fill.objects.get().quantity == 2
            assert order.filled_quantity == 2

    @pytest.mark.parametrize("end", ["canceled", "expired", "rejected"])
    def test_an_end_at_the_venue_is_learnt_by_the_poll(
        self, order_of: OrderOf, venue: FakeVenue, status: Any, end: str
    ) -> None:
        order = order_of(status="accepted")
        venue.orders = [VenueOrder(order.client_order_id, "v", end, Decimal(0), "why")]

        desk.poll(now=NOON)

        assert status(order) == (end, "why")

    def test_an_entry_canceled_before_it_is_sent_takes_its_children_along(
        self, order_of: OrderOf, venue: FakeVenue, status: Any
    ) -> None:
        family = bracket(order_of)
        with acting_for(family[0].tenant_id):
            Order.objects.filter(pk=family[0].pk).update(cancel_requested_at=NOON)

        desk.work(now=NOON)

        assert [status(order) for order in family] == [
            ("canceled", "asked"),
            ("canceled", "parent_canceled"),
            ("canceled", "parent_canceled"),
        ]
        assert venue.posts == 0

    def test_an_exit_canceled_before_it_is_sent_stays_here(
        self, order_of: OrderOf, venue: FakeVenue, status: Any
    ) -> None:
        order = order_of(reduce_only=True, cancel_requested_at=NOON)

        sending.dispatch(now=NOON)

        assert status(order) == ("canceled", "asked")
        assert venue.posts == 0
