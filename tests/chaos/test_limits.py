"""Invariant 14: signals that arrive together cannot jointly exceed a limit."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.chaos import checks, load
from tests.chaos.cast import Player
from tests.chaos.harness import Service

PIPELINES = ("pipeline-2", "pipeline-3")
SIGNALS = 200
MOST_ORDERS = 25
MOST_UNITS = 20
# The market stays within 100.2.
MOST_NOTIONAL = 2_004
MEASURED = """
SELECT count(*), coalesce(sum(quantity), 0), coalesce(sum(quantity * decision_price), 0),
  count(DISTINCT o.xmin::text)
FROM trading_order o WHERE tenant_id = %s AND parent_id IS NULL
  AND status NOT IN ('rejected', 'denied')
"""
# So that batches meet: each is still open while the next ones begin.
SLOW = """
CREATE FUNCTION witness.slow() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END';
CREATE TRIGGER slow AFTER INSERT ON public.signals_decision FOR EACH STATEMENT
  EXECUTE FUNCTION witness.slow()
"""


class TestTwoHundredAtOnce:
    """Mutant: books.load without the account's lock."""

    @pytest.fixture(autouse=True)
    def slowly(self, service: Service) -> Iterator[None]:
        service.stores.execute(SLOW)
        yield
        service.stores.execute("DROP FUNCTION witness.slow CASCADE")

    @pytest.mark.chaos
    def test_stay_within_each_limit(self, service: Service) -> None:
        self.exceed(service, rounds=1)

    @pytest.mark.chaos_full
    def test_stay_within_each_limit_again_and_again(self, service: Service) -> None:
        self.exceed(service, rounds=3)

    def exceed(self, service: Service, *, rounds: int) -> None:
        with service.beside(*PIPELINES):
            for _ in range(rounds):
                self.exceed_once(service)
        checks.hold(service)

    def exceed_once(self, service: Service) -> None:
        by_count, by_day, by_position = service.take(3)
        limit(service, by_count, "max_orders_per_minute", MOST_ORDERS)
        limit(service, by_day, "max_daily_notional", MOST_NOTIONAL)
        limit(service, by_position, "max_position_notional", MOST_NOTIONAL)
        sends = [
            (player.token, load.alert())
            for _ in range(SIGNALS)
            for player in (by_count, by_day, by_position)
        ]

        ledger = load.post_all(service.port("hooks"), sends, lines=12)
        checks.settled(service)

        assert set(ledger.statuses) == {202}
        count, _, _, batches = self.measured(service, by_count)
        assert count == MOST_ORDERS
        _, units, notional, _ = self.measured(service, by_day)
        assert notional <= MOST_NOTIONAL
        assert units >= MOST_UNITS - 1
        _, units, _, _ = self.measured(service, by_position)
        assert MOST_UNITS - 1 <= units < MOST_UNITS + Decimal("0.1")
        # Otherwise nothing was decided at the same time as anything else.
        assert batches > 1

    def measured(self, service: Service, player: Player) -> tuple[int, Decimal, Decimal, int]:
        [found] = service.stores.rows(MEASURED, player.tenant_id)
        return found


def limit(service: Service, player: Player, name: str, value: int) -> None:
    service.stores.execute(
        f"UPDATE trading_risklimits SET {name} = %s WHERE account_id = %s",
        value,
        player.account_id,
    )
