from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError

from apps.accounts.models import ApiKey, Tenant
from apps.core import bulk
from apps.core.ids import uuid7
from apps.core.tenancy import acting_for
from apps.signals.models import Signal
from apps.trading.models import BrokerAccount, Order, RiskLimits
from tests.factories import NOON, make_account, make_alert, make_endpoint, make_instrument


def order(account: BrokerAccount, instrument: Any, **values: Any) -> Order:
    return Order(
        **{
            "client_order_id": f"pl-{uuid7().hex}",
            "account_id": account.pk,
            "instrument_id": instrument.pk,
            "side": "buy",
            "kind": "limit",
            "quantity": Decimal("0.12345678"),
            "limit_price": Decimal("64250.0000000001"),
            "risk": {"passed": True, "say": "\"quoted\", {braces}, 'single' \\ and Ω"},
            "status_text": 'it\'s "so" \\ far, 100 %',
            "created_at": NOON + timedelta(microseconds=1),
        }
        | values
    )


class TestInsert:
    def test_every_value_comes_back_as_it_went(self, alice: Tenant) -> None:
        account, instrument = make_account(alice), make_instrument()
        with acting_for(alice):
            written = [order(account, instrument), order(account, instrument, side="sell")]
            bulk.insert(written)

            for row in written:
                read = Order.objects.get(pk=row.pk)
                for field in Order._meta.concrete_fields:
                    assert getattr(read, field.attname) == getattr(row, field.attname), field.name

    def test_floats_nested_objects_and_arrays_survive(self, alice: Tenant) -> None:
        account = make_account(alice)
        alert = make_alert(alice, make_endpoint(alice), "{}")
        ids = [uuid7(), uuid7()]
        with acting_for(alice):
            RiskLimits.objects.filter(account=account).delete()
            bulk.insert([RiskLimits(account=account, allowed_instruments=ids)])
            bulk.insert(
                [
                    Signal(
                        alert=alert,
                        ticker="Ω",
                        action="buy",
                        created_at=NOON,
                        features={"rsi": 0.1 + 0.2},
                        score=0.75,
                    )
                ]
            )

            assert RiskLimits.objects.get().allowed_instruments == ids
            assert Signal.objects.get().features == {"rsi": 0.1 + 0.2}
            assert Signal.objects.get().score == 0.75

    def test_a_conflict_raises_unless_it_is_allowed(self, alice: Tenant) -> None:
        account, instrument = make_account(alice), make_instrument()
        first = order(account, instrument, tenant=alice)
        again = order(account, instrument, tenant=alice, client_order_id=first.client_order_id)

        with pytest.raises(IntegrityError, match="order_submitted_once"), acting_for(alice):
            bulk.insert([first, again])

        with acting_for(alice):
            bulk.insert([first, again], on_conflict="DO NOTHING")
            assert list(Order.objects.all()) == [first]

    def test_nothing_is_no_statement(self, database: None) -> None:
        bulk.insert([])
        bulk.update([], ["name"])

    def test_bytes_are_refused(self, alice: Tenant) -> None:
        with pytest.raises(bulk.NotPlain, match="digest"), acting_for(alice):
            bulk.insert([ApiKey(user=alice.owner, digest=b"x")])  # type: ignore[attr-defined]


class TestUpdate:
    def test_only_the_named_fields_are_written(self, alice: Tenant) -> None:
        first, second = make_account(alice, name="one"), make_account(alice, name="two")
        with acting_for(alice):
            first.cash, first.name = Decimal("1.000000000000000001"), "not written"
            second.cash = Decimal(2)
            bulk.update([first, second], ["cash"])

            rows = BrokerAccount.objects.order_by("pk").values_list("name", "cash")
            assert list(rows) == [("one", Decimal("1.000000000000000001")), ("two", Decimal(2))]
