"""Invariant 13: the state machine is closed, through any door, for every role."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, connections

from apps.accounts.models import Tenant
from apps.core.tenancy import acting_across, acting_for
from apps.marketdata.models import Instrument
from apps.trading.models import (
    BrokerAccount,
    Deployment,
    Fill,
    Order,
    Position,
    ServiceState,
    Trade,
)
from apps.trading.transitions import CLOSED, NEXT
from tests.factories import NOON, make_account, make_order

OrderOf = Callable[..., Order]
PAIRS = [(before, after) for before in NEXT for after in NEXT]


def update(alias: str, tenant: Tenant, statement: str, *values: Any) -> None:
    scope = acting_for(tenant) if alias == "default" else acting_across("test: raw SQL")
    with scope, connections[alias].cursor() as cursor:
        cursor.execute(statement, values)
        assert cursor.rowcount == 1


class TestEveryPair:
    @pytest.mark.parametrize("alias", ["default", "ops"])
    def test_only_listed_transitions_are_possible_through_raw_sql(
        self, alias: str, alice: Tenant, order_of: OrderOf
    ) -> None:
        possible = set()
        for before, after in PAIRS:
            order = order_of(status=before)
            try:
                update(
                    alias, alice, "UPDATE trading_order SET status = %s WHERE id = %s",
                    after, order.pk,
                )  # fmt: skip
            except DatabaseError as refusal:
                if not isinstance(refusal.__cause__, psycopg.errors.RestrictViolation):
                    raise
            else:
                possible.add((before, after))

        listed = {(before, after) for before in NEXT for after in NEXT[before]}
        unchanged = {(status, status) for status in NEXT if status not in CLOSED}
        assert possible == listed | unchanged

    def test_python_knows_every_status(self) -> None:
        assert set(NEXT) == set(Order.Status.values)
        assert set(Order.OPEN) == set(NEXT) - CLOSED


class TestWhatIsFixed:
    @pytest.mark.parametrize("alias", ["default", "ops"])
    @pytest.mark.parametrize("status", sorted(CLOSED))
    def test_an_order_at_its_end_cannot_change_in_anything(
        self, alias: str, status: str, alice: Tenant, order_of: OrderOf
    ) -> None:
        order = order_of(status=status)

        with pytest.raises(DatabaseError, match="is closed"):
            update(
                alias, alice, "UPDATE trading_order SET status_text = 'x' WHERE id = %s", order.pk
            )

    @pytest.mark.parametrize(
        "change",
        [
            "quantity = quantity + 1", "side = 'sell'", "client_order_id = 'other'",
            "reduce_only = NOT reduce_only", "role = 'exit'",
            "risk = risk || '{\"x\": 1}'",
            "signal_id = gen_random_uuid()", "decision_price = 1",
            "created_at = created_at + interval '1 s'", "kind = 'limit', limit_price = 1",
        ],
    )  # fmt: skip
    def test_its_terms_cannot_change(self, change: str, alice: Tenant, order_of: OrderOf) -> None:
        order = order_of()

        with pytest.raises(DatabaseError, match="terms of order"):
            update("ops", alice, f"UPDATE trading_order SET {change} WHERE id = %s", order.pk)

    def test_it_cannot_lose_fills(self, alice: Tenant, order_of: OrderOf) -> None:
        order = order_of(status="accepted", filled_quantity=Decimal("0.5"))

        with pytest.raises(DatabaseError, match="cannot lose fills"):
            update(
                "ops", alice, "UPDATE trading_order SET filled_quantity = 0 WHERE id = %s", order.pk
            )

    @pytest.mark.parametrize("alias", ["default", "ops"])
    def test_it_is_never_deleted(self, alias: str, alice: Tenant, order_of: OrderOf) -> None:
        order = order_of()

        with pytest.raises(DatabaseError, match="never deleted"):
            update(alias, alice, "DELETE FROM trading_order WHERE id = %s", order.pk)

    @pytest.mark.parametrize("alias", ["default", "ops"])
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE trading_fill SET price = 1 WHERE id = %s",
            "DELETE FROM trading_fill WHERE id = %s",
        ],
    )
    def test_fills_are_facts(
        self, alias: str, statement: str, alice: Tenant, order_of: OrderOf
    ) -> None:
        fill = make_fill(alice, order_of())

        with pytest.raises(DatabaseError, match=r"permission denied|append-only"):
            update(alias, alice, statement, fill.pk)

    def test_not_even_the_owner_of_the_tables_changes_a_fill(
        self, alice: Tenant, order_of: OrderOf, superuser: "psycopg.Connection[Any]"
    ) -> None:
        fill = make_fill(alice, order_of())

        with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
            superuser.execute("UPDATE trading_fill SET price = 1 WHERE id = %s", [fill.pk])


def make_fill(tenant: Tenant, order: Order, **overrides: Any) -> Fill:
    with acting_for(tenant):
        trade = Trade.objects.create(
            account_id=order.account_id, instrument_id=order.instrument_id, direction="long",
            opened_at=NOON,
        )  # fmt: skip
        values: dict[str, Any] = {
            "order": order, "account_id": order.account_id, "instrument_id": order.instrument_id,
            "trade": trade, "execution_id": "e1", "side": "buy", "quantity": Decimal(1),
            "price": Decimal(100), "fee": Decimal(0), "executed_at": NOON, "booked_at": NOON,
        }  # fmt: skip
        return Fill.objects.create(**(values | overrides))


class TestTheDatabaseRefuses:
    @pytest.mark.parametrize(
        ("constraint", "overrides"),
        [
            ("order_quantity_positive", {"quantity": Decimal(0)}),
            ("order_not_overfilled", {"filled_quantity": Decimal(2)}),
            ("order_not_overfilled", {"filled_quantity": Decimal(-1)}),
            ("order_limit_price_iff_limit", {"kind": "limit"}),
            ("order_limit_price_iff_limit", {"limit_price": Decimal(1)}),
            ("order_stop_price_iff_stop", {"kind": "stop"}),
            ("order_stop_price_iff_stop", {"stop_price": Decimal(1)}),
            ("order_limit_price_positive", {"kind": "limit", "limit_price": Decimal(0)}),
            ("order_stop_price_positive", {"kind": "stop", "stop_price": Decimal(-1)}),
            ("order_side_known", {"side": "hold"}),
            ("order_status_known", {"status": "lost"}),
            ("order_passed_risk", {"risk": {}}),
            ("order_passed_risk", {"risk": {"passed": False}}),
        ],
    )
    def test_such_an_order(
        self, constraint: str, overrides: dict[str, Any], order_of: OrderOf
    ) -> None:
        with pytest.raises(IntegrityError, match=constraint):
            order_of(**overrides)

    def test_two_orders_of_one_name(self, order_of: OrderOf) -> None:
        order_of(client_order_id="one")

        with pytest.raises(IntegrityError, match="order_submitted_once"):
            order_of(client_order_id="one")

    @pytest.mark.parametrize(
        ("constraint", "overrides"),
        [
            ("paper_is_never_live", {"mode": "live"}),
            ("account_starts_with_cash", {"cash": Decimal(0)}),
        ],
    )
    def test_such_an_account(
        self, alice: Tenant, constraint: str, overrides: dict[str, Any]
    ) -> None:
        with pytest.raises(IntegrityError, match=constraint):
            make_account(alice, **overrides)

    def test_two_accounts_of_one_name(self, alice: Tenant) -> None:
        make_account(alice, "One")

        with pytest.raises(IntegrityError, match="account_name_once"):
            make_account(alice, "One")

    @pytest.mark.parametrize(
        ("constraint", "overrides"),
        [
            ("deployment_size_positive", {"size": Decimal(0)}),
            ("ended_is_inactive", {"ended_at": NOON}),
        ],
    )
    def test_such_a_deployment(
        self, alice: Tenant, account: BrokerAccount, constraint: str, overrides: dict[str, Any]
    ) -> None:
        values = {"name": "d", "source_id": account.pk, "account": account} | overrides

        with acting_for(alice), pytest.raises(IntegrityError, match=constraint):
            Deployment.objects.create(**values)

    @pytest.mark.parametrize(
        ("constraint", "overrides"),
        [
            ("fill_quantity_positive", {"quantity": Decimal(0)}),
            ("fill_price_positive", {"price": Decimal(0)}),
        ],
    )
    def test_such_a_fill(
        self, alice: Tenant, order_of: OrderOf, constraint: str, overrides: dict[str, Any]
    ) -> None:
        with pytest.raises(IntegrityError, match=constraint):
            make_fill(alice, order_of(), **overrides)

    def test_one_execution_twice(self, alice: Tenant, order_of: OrderOf) -> None:
        first = make_fill(alice, order_of())

        with acting_for(alice), pytest.raises(IntegrityError, match="execution_booked_once"):
            Fill.objects.create(
                **{
                    field.attname: getattr(first, field.attname)
                    for field in Fill._meta.concrete_fields
                    if field.name != "id"
                }
            )

    def test_a_flat_position_that_cost_something(
        self, alice: Tenant, account: BrokerAccount, btc: Instrument
    ) -> None:
        with acting_for(alice), pytest.raises(IntegrityError, match="flat_position_costs_nothing"):
            Position.objects.create(account=account, instrument=btc, cost=Decimal(1))

    def test_a_trade_closed_beyond_its_entry_and_two_open_ones(
        self, alice: Tenant, account: BrokerAccount, btc: Instrument
    ) -> None:
        values: dict[str, Any] = {
            "account": account, "instrument": btc, "direction": "long", "opened_at": NOON
        }  # fmt: skip
        with acting_for(alice), pytest.raises(IntegrityError, match="trade_not_overclosed"):
            Trade.objects.create(**values, exit_quantity=Decimal(1))
        with acting_for(alice):
            Trade.objects.create(**values)
        with acting_for(alice), pytest.raises(IntegrityError, match="one_open_trade"):
            Trade.objects.create(**(values | {"opened_at": NOON + timedelta(1)}))

    def test_a_second_service_state(self, database: None) -> None:
        with acting_across("test"), pytest.raises(IntegrityError, match="one_service_state"):
            ServiceState.objects.create(id=2)

    def test_the_application_cannot_throw_or_lift_the_operators_switch(self, alice: Tenant) -> None:
        with pytest.raises(DatabaseError, match="permission denied"):
            update("default", alice, "UPDATE trading_servicestate SET is_halted = false")

    def test_another_tenants_account_in_an_order(
        self, alice: Tenant, bob: Tenant, btc: Instrument, account: BrokerAccount
    ) -> None:
        with pytest.raises(IntegrityError, match="same_tenant"):
            make_order(bob, account, btc)
