"""Invariant 15: after a halt has committed, no entry is claimed; what reduces still passes."""

import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.chaos import checks, load
from tests.chaos.cast import Player
from tests.chaos.harness import Service, until

CLAIMED = "SELECT count(*) FROM witness.claim WHERE tenant_id = %s AND NOT reduce_only"
OPEN_ENTRIES = """
SELECT id FROM trading_order WHERE tenant_id = %s AND NOT reduce_only
  AND status IN ('new', 'submitting', 'accepted', 'partially_filled', 'unknown')
"""
HELD = """
SELECT quantity FROM trading_position p JOIN marketdata_instrument i ON i.id = p.instrument_id
WHERE tenant_id = %s AND symbol = 'AAAUSD'
"""
# So that a claim and a halt meet: a claim takes its time, and so does a halt between what it
# cancels and its commit.
SLOW = """
CREATE FUNCTION witness.slow_claim() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN PERFORM pg_sleep(0.004); RETURN NEW; END';
CREATE TRIGGER slow BEFORE UPDATE ON public.trading_order FOR EACH ROW
  WHEN (NEW.status = 'submitting' AND OLD.status = 'new') EXECUTE FUNCTION witness.slow_claim();
CREATE FUNCTION witness.slow_halt() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF EXISTS (SELECT FROM witness.halt
             WHERE transaction = pg_current_xact_id()::xid AND is_halted) THEN
    PERFORM pg_sleep(0.7);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER slow_halt AFTER UPDATE ON public.trading_order FOR EACH STATEMENT
  EXECUTE FUNCTION witness.slow_halt()
"""


def queue(service: Service, player: Player, alerts: int) -> None:
    """The desk is amid the claims of many entries, and many alerts still wait."""
    resting = load.alert("buy", order_type="limit", price="95", symbol="BBBUSD")
    load.post_all(service.port("hooks"), [(player.token, resting)])
    checks.settled(service)
    with service.without("pipeline"):
        sends = [(player.token, load.alert()) for _ in range(alerts)]
        assert set(load.post_all(service.port("hooks"), sends, lines=32).statuses) == {202}
    until(
        lambda: service.stores.rows(CLAIMED, player.tenant_id)[0][0] > 20,
        patience_s=30,
        what="entries claimed",
    )


def halted(service: Service, player: Player, halt: Callable[[], None], alerts: int) -> None:
    """Throw the switch amid the claims, while more alerts keep coming."""
    queue(service, player, alerts)
    more = load.Load(service.port("hooks"), pause_s=0.01)
    # One sender, so one instrument: an exit cancels entries of its own instrument by itself.
    sending = threading.Thread(target=more.each, args=[[player]], kwargs={"senders": 1})
    sending.start()
    try:
        halt()
        load.post_all(service.port("hooks"), [(player.token, load.alert("close", quantity=None))])
    finally:
        more.is_over.set()
        sending.join()
    checks.settled(service)
    load.post_all(service.port("hooks"), [(player.token, load.alert("close", quantity=None))])
    checks.settled(service)

    assert service.stores.rows(OPEN_ENTRIES, player.tenant_id) == []
    assert service.stores.rows(HELD, player.tenant_id)[0][0] == 0
    assert checks.outcomes(service, [player.tenant_id])["halted"] > 0
    checks.hold(service)


class TestHalt:
    """Mutants: the claim reads a switch of five seconds ago; the halt leaves open orders alone."""

    @pytest.fixture(autouse=True)
    def slowly(self, service: Service) -> Iterator[None]:
        service.stores.execute(SLOW)
        yield
        service.stores.execute("DROP FUNCTION witness.slow_claim, witness.slow_halt CASCADE")

    @pytest.mark.chaos
    def test_by_the_api_without_redis(self, service: Service) -> None:
        self.by_the_api(service, alerts=400)

    @pytest.mark.chaos
    def test_by_the_operator_without_the_web(self, service: Service) -> None:
        self.by_the_operator(service, alerts=400)

    @pytest.mark.chaos_full
    def test_by_the_api_with_thousands_queued(self, service: Service) -> None:
        self.by_the_api(service, alerts=5_000)

    @pytest.mark.chaos_full
    def test_by_the_operator_with_thousands_queued(self, service: Service) -> None:
        self.by_the_operator(service, alerts=5_000)

    def by_the_api(self, service: Service, *, alerts: int) -> None:
        [player] = service.take(1)

        def halt() -> None:
            service.stores.redis.kill()
            answer = service.api(player, "POST", "halt", {"reason": "chaos"})
            assert answer.status in {200, 201}, answer.body
            service.stores.redis.start_again()

        halted(service, player, halt, alerts)

    def by_the_operator(self, service: Service, *, alerts: int) -> None:
        [player] = service.take(1)

        def halt() -> None:
            with service.without("web"):
                service.manage("halt", "--reason", "chaos")

        try:
            halted(service, player, halt, alerts)
        finally:
            service.manage("resume")


HALT = """
INSERT INTO trading_tradingstate (id, tenant_id, is_halted, reason, flattens)
VALUES (gen_random_uuid(), %(tenant)s, true, 'chaos', false)
ON CONFLICT (tenant_id) DO UPDATE SET is_halted = true, reason = 'chaos'
"""


@pytest.mark.chaos
class TestAHaltThatIsBeingThrown:
    """Mutant: the claim reads the switch without a share lock. Under load other locks hide that."""

    @pytest.mark.parametrize("was_thrown_before", [False, True])
    def test_is_waited_for_by_the_claim(self, service: Service, was_thrown_before: bool) -> None:
        [player] = service.take(1)
        tenant = {"tenant": player.tenant_id}
        with psycopg.connect(service.stores.admin_url) as line:
            if was_thrown_before:
                line.execute(HALT, tenant)
                line.execute("UPDATE trading_tradingstate SET is_halted = false")
                line.commit()
            line.execute(HALT, tenant)
            load.post_all(service.port("hooks"), [(player.token, load.alert())])
            until(
                lambda: service.stores.rows(OPEN_ENTRIES, player.tenant_id),
                patience_s=10,
                what="an order written",
            )
            time.sleep(1.5)
            claimed_meanwhile = service.stores.rows(CLAIMED, player.tenant_id)[0][0]
            line.commit()
        checks.settled(service)

        assert claimed_meanwhile == 0
        assert service.stores.rows(CLAIMED, player.tenant_id)[0][0] == 0
        checks.hold(service)
