"""Invariants 8, 9 and 17: the desk dies between a send and its note, again and again."""

import random
import time
from collections.abc import Iterator

import pytest

from tests.chaos import checks, load
from tests.chaos.harness import Service, until

# The instant between the venue's commit and ours is short: here each note takes ten milliseconds.
SLOW = """
CREATE FUNCTION witness.slow() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END';
CREATE TRIGGER slow BEFORE UPDATE ON public.trading_order FOR EACH ROW
  WHEN (OLD.status = 'submitting' AND NEW.status = 'accepted')
  EXECUTE FUNCTION witness.slow()
"""
BETWEEN = """
SELECT FROM trading_order o JOIN trading_paperorder p
  ON p.tenant_id = o.tenant_id AND p.client_order_id = o.client_order_id
WHERE o.status = 'submitting' AND o.tenant_id = %s LIMIT 1
"""


@pytest.mark.chaos
class TestAnInterruptedSend:
    """Mutants: the desk sends again without asking the venue; it claims without writing
    `submitting`.
    """

    @pytest.fixture
    def slowly(self, service: Service) -> Iterator[None]:
        service.stores.execute(SLOW)
        yield
        service.stores.execute("DROP FUNCTION witness.slow CASCADE")

    def test_is_neither_repeated_nor_forgotten(
        self, service: Service, slowly: None, chance: random.Random
    ) -> None:
        [player] = service.take(1)
        bracket = {"price": "100", "stop_loss": "80", "take_profit": "120"}
        interrupted = 0
        for _ in range(3):
            sends = [(player.token, load.alert(**bracket)) for _ in range(40)]
            load.post_all(service.port("hooks"), sends)
            until(
                lambda: service.stores.rows(BETWEEN, player.tenant_id),
                patience_s=20,
                what="a send under way",
            )
            time.sleep(chance.uniform(0, 0.2))
            service.kill("desk")
            interrupted += len(service.stores.rows(BETWEEN, player.tenant_id))
            service.children["desk"].start_again()
        checks.settled(service)

        assert interrupted > 0
        checks.hold(service)
        assert checks.outcomes(service, [player.tenant_id]) == {"ok": 120}
