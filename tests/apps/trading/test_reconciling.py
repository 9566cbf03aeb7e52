"""Invariant 10: no entry until nothing is in doubt and positions equal the venue's."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from apps.accounts.audit import Actor
from apps.accounts.models import AuditEvent, Tenant
from apps.core.models import Event
from apps.core.tenancy import acting_for
from apps.marketdata.models import Instrument
from apps.trading import adopting, desk, services
from apps.trading.models import BrokerAccount, Fill, Order, Position
from tests.apps.trading.conftest import Market
from tests.apps.trading.venues import FakeVenue
from tests.factories import NOON

OrderOf = Callable[..., Order]


def state(account: BrokerAccount) -> str:
    with acting_for(account.tenant_id):
        account.refresh_from_db()
        return account.state


def kinds(tenant: Tenant) -> list[str]:
    with acting_for(tenant):
        return list(Event.objects.order_by("sequence").values_list("kind", flat=True))


class TestAtTheDesksStart:
    def test_accounts_that_agree_go_on(
        self, account: BrokerAccount, alice: Tenant, venue: FakeVenue
    ) -> None:
        desk.begin(now=NOON)

        assert state(account) == "active"
        assert kinds(alice) == []

    def test_an_order_in_doubt_keeps_entries_back_until_it_is_resolved(
        self, account: BrokerAccount, venue: FakeVenue, order_of: OrderOf, alice: Tenant
    ) -> None:
        doubtful = order_of(status="unknown", submitted_at=NOON)
        venue.is_away = True
        desk.begin(now=NOON)
        assert state(account) == "reconciling"
        entry, exit_ = order_of(), order_of(reduce_only=True)
        venue.is_away = False
        desk.dispatch(now=NOON)
        with acting_for(alice):
            entry.refresh_from_db()
            exit_.refresh_from_db()
        assert (entry.status, exit_.status) == ("canceled", "accepted")

        venue.orders.append(venue._taken(doubtful.client_order_id))
        desk.reconcile(now=NOON)

        assert state(account) == "active"
        assert "account.reconciled" in kinds(alice)

    def test_a_difference_is_told_once_and_keeps_entries_back(
        self, account: BrokerAccount, venue: FakeVenue, alice: Tenant, btc: Instrument
    ) -> None:
        venue.holdings = {btc.pk: Decimal("-1.5")}

        desk.begin(now=NOON)
        for _ in range(3):
            desk.reconcile(now=NOON)

        assert state(account) == "reconciling"
        assert account.differences == {str(btc.pk): {"booked": "0", "venue": "-1.5"}}
        assert kinds(alice).count("account.differs") == 1

    def test_a_difference_that_goes_away_ends_it(
        self, account: BrokerAccount, venue: FakeVenue, btc: Instrument
    ) -> None:
        venue.holdings = {btc.pk: Decimal(1)}
        desk.begin(now=NOON)
        venue.holdings = {}

        desk.reconcile(now=NOON)

        assert state(account) == "active"
        assert account.differences == {}


class TestAcceptingWhatTheVenueHolds:
    def accept(self, account: BrokerAccount) -> None:
        with acting_for(account.tenant_id):
            services.accept_venue_position(account_id=account.pk, by=Actor(), now=NOON)

    @pytest.mark.parametrize(("booked", "theirs"), [(0, "-1.5"), (3, "1"), (2, "-2"), (2, "0")])
    def test_books_the_difference_as_a_fill_and_keeps_cash_exact(
        self, account: BrokerAccount, venue: FakeVenue, alice: Tenant, btc: Instrument,
        market: Market, order_of: OrderOf, booked: int, theirs: str,
    ) -> None:  # fmt: skip
        market.open(100)
        if booked:
            from tests.apps.trading.test_booking import book, execution

            book(execution(order_of(status="accepted", quantity=Decimal(booked)), 1))
        venue.holdings = {btc.pk: Decimal(theirs)} if theirs != "0" else {}
        desk.begin(now=NOON)
        assert state(account) == "reconciling"

        self.accept(account)
        desk.reconcile(now=NOON)

        assert state(account) == "active"
        with acting_for(alice):
            position = Position.objects.get()
            fills = Fill.objects.all()
            assert position.quantity == Decimal(theirs)
            assert position.quantity == sum(
                fill.quantity if fill.side == "buy" else -fill.quantity for fill in fills
            )
            expected = 100_000 + position.realized - position.fees - position.cost
            assert account.cash == expected
            assert Order.objects.get(role="adjust").status == "filled"
            assert AuditEvent.objects.get().action == "account.position_accepted"

    def test_is_refused_where_nothing_differs(self, account: BrokerAccount) -> None:
        with pytest.raises(adopting.NothingToAccept):
            self.accept(account)

    def test_is_refused_without_a_price_and_nothing_is_written(
        self, account: BrokerAccount, venue: FakeVenue, alice: Tenant, btc: Instrument
    ) -> None:
        venue.holdings = {btc.pk: Decimal(1)}
        desk.begin(now=timezone.now())

        with pytest.raises(adopting.NoPriceToAcceptAt):
            self.accept(account)

        assert state(account) == "reconciling"
        assert account.differences
        with acting_for(alice):
            assert not Order.objects.exists()


def test_a_foreign_execution_stops_entries_until_a_person_decides(
    account: BrokerAccount, venue: FakeVenue, alice: Tenant, btc: Instrument, order_of: Any
) -> None:
    from tests.apps.trading.test_booking import execution

    order = order_of(status="accepted")
    venue.made = [execution(order, 1, client_order_id="somebody-else")]
    venue.holdings = {btc.pk: Decimal(1)}

    desk.collect(now=NOON)
    desk.reconcile(now=NOON)

    assert state(account) == "reconciling"
    assert kinds(alice) == ["execution.set_aside", "account.differs"]
