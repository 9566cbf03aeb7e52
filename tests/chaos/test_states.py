"""Invariant 13: only listed transitions, closed orders and booked fills never change."""

import random
from dataclasses import dataclass
from uuid import uuid4

import psycopg
import pytest

from tests.chaos.cast import Player
from tests.chaos.harness import Service

# Written out here a third time on purpose: transitions.py and functions.sql must both agree.
ALLOWED = {
    "new": "submitting denied canceled expired",
    "submitting": "accepted partially_filled filled canceled expired rejected unknown",
    "unknown": "new accepted partially_filled filled canceled expired rejected",
    "accepted": "partially_filled filled canceled expired rejected",
    "partially_filled": "filled canceled expired",
    "filled": "",
    "canceled": "",
    "expired": "",
    "rejected": "",
    "denied": "",
}
TERMS = (
    "quantity = quantity + 1",
    "side = 'sell'",
    "client_order_id = client_order_id || 'x'",
    "created_at = created_at - interval '1 hour'",
    "reduce_only = NOT reduce_only",
)


@dataclass
class Walker:
    """Orders that are changed at random by raw SQL, beside a model of what must happen."""

    line: "psycopg.Connection[tuple[object, ...]]"
    status: dict[str, str]
    accepted: int = 0
    refused: int = 0

    def step(self, chance: random.Random) -> None:
        order = chance.choice(list(self.status))
        before = self.status[order]
        if chance.random() < 0.15:
            self.attempt(order, chance.choice(TERMS), is_allowed=False)
        elif chance.random() < 0.05:
            self.delete(order)
        else:
            wanted = chance.choice(list(ALLOWED))
            # An update that says what is so already passes, unless the order is closed.
            stays = wanted == before and ALLOWED[before] != ""
            is_allowed = stays or wanted in ALLOWED[before].split()
            if self.attempt(order, f"status = '{wanted}'", is_allowed=is_allowed):
                self.status[order] = wanted

    def attempt(self, order: str, change: str, *, is_allowed: bool) -> bool:
        passed = self.passes(f"UPDATE trading_order SET {change} WHERE id = %s", order)
        assert passed == is_allowed, f"{self.status[order]}: {change}"
        return passed

    def delete(self, order: str) -> None:
        assert not self.passes("DELETE FROM trading_order WHERE id = %s", order)

    def passes(self, statement: str, order: str) -> bool:
        try:
            self.line.execute(statement.encode(), [order])
        except (psycopg.errors.RestrictViolation, psycopg.errors.CheckViolation):
            self.refused += 1
            return False
        self.accepted += 1
        return True


class TestTheStateMachine:
    """Mutant: a pair more in functions.sql."""

    @pytest.mark.chaos
    def test_holds_against_random_sql(self, service: Service, chance: random.Random) -> None:
        self.walk(service, chance, steps=4_000)

    @pytest.mark.chaos_full
    def test_holds_against_much_random_sql(self, service: Service, chance: random.Random) -> None:
        self.walk(service, chance, steps=60_000)

    def walk(self, service: Service, chance: random.Random, *, steps: int) -> None:
        [player] = service.take(1)
        # The desk would carry the orders out.
        with (
            service.without("desk"),
            psycopg.connect(service.stores.databases.ops, autocommit=True) as line,
        ):
            walker = Walker(line, {})
            for number in range(steps):
                if number % 20 == 0:
                    walker.status[new_order(line, player)] = "new"
                walker.step(chance)

            found = {
                str(row[0]): row[1]
                for row in line.execute(
                    b"SELECT id, status FROM trading_order WHERE id = ANY(%s)",
                    [list(walker.status)],
                )
            }
            assert found == walker.status
            assert walker.accepted > steps / 20
            assert walker.refused > steps / 20
            clear_away(service, player)


def new_order(line: "psycopg.Connection[tuple[object, ...]]", player: Player) -> str:
    order_id = str(uuid4())
    line.execute(
        b"INSERT INTO trading_order (id, tenant_id, client_order_id, account_id, instrument_id,"
        b" role, side, kind, quantity, reduce_only, status, status_code, status_text,"
        b" filled_quantity, filled_value, risk, created_at, sends, venue_order_id)"
        b" SELECT %s::uuid, %s, %s, %s, id, 'entry', 'buy', 'market', 1, false, 'new', '', '',"
        b" 0, 0, '{\"passed\": true}', clock_timestamp(), 0, '' FROM marketdata_instrument LIMIT 1",
        [order_id, player.tenant_id, f"pl-{order_id}", player.account_id],
    )
    return order_id


def clear_away(service: Service, player: Player) -> None:
    """As the superuser, past the triggers: these orders never were at the venue."""
    service.stores.execute(
        "SET session_replication_role = replica; DELETE FROM trading_order WHERE tenant_id = '"
        f"{player.tenant_id}'; DELETE FROM witness.claim WHERE tenant_id = '{player.tenant_id}'"
    )
