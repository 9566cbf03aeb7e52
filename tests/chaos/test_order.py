"""Invariant 5: what is old or out of order never increases exposure."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from tests.chaos import checks, load
from tests.chaos.harness import Service

# By commit, which the account's lock puts in line, and within a batch as the batch was sorted.
STALE_EXPOSURE = """
WITH applied AS (
  SELECT s.id, s.fired_at, d.decided_at,
    max(s.fired_at) OVER (
      PARTITION BY a.endpoint_id, s.strategy, s.instrument_id
      ORDER BY pg_xact_commit_timestamp(d.xmin), s.fired_at
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newest_before
  FROM signals_signal s
  JOIN webhooks_alert a ON a.id = s.alert_id
  JOIN signals_decision d ON d.signal_id = s.id AND d.outcome IN ('accepted', 'reduced')
  JOIN trading_order o ON o.signal_id = s.id AND o.parent_id IS NULL AND NOT o.reduce_only
  WHERE s.tenant_id = %s
)
SELECT id, fired_at, newest_before, decided_at FROM applied
WHERE fired_at < newest_before OR fired_at < decided_at - interval '61 seconds'
"""


@pytest.mark.chaos
class TestShuffledAndDelayed:
    """Mutants: freshness.refuses without the head of the stream (order by arrival); without the
    greatest age.
    """

    def test_sends_never_increase_exposure_out_of_turn(
        self, service: Service, chance: random.Random
    ) -> None:
        [player] = service.take(1)
        now = datetime.now(UTC)
        bodies = [
            load.alert(
                chance.choice(["buy", "sell"]),
                strategy=f"S{number % 2}",
                timenow=load.stamp(now - timedelta(seconds=100 - number)),
            )
            for number in range(100)
        ]
        # Late by up to some places, and half of them once more, later still.
        shuffled = sorted(range(100), key=lambda number: number + chance.uniform(0, 20))
        again = [number + chance.randint(5, 40) for number in range(0, 100, 2)]
        order = [bodies[number] for number in shuffled]
        for place, number in zip(again, range(0, 100, 2), strict=True):
            order.insert(min(place + number, len(order)), bodies[number])

        with service.beside("pipeline-2"):
            for place in range(0, len(order), 10):
                sends = [(player.token, body) for body in order[place : place + 10]]
                load.post_all(service.port("hooks"), sends, lines=4)
                # One batch would only be sorted.
                checks.settled(service)

        assert service.stores.rows(STALE_EXPOSURE, player.tenant_id) == []
        codes = checks.outcomes(service, [player.tenant_id])
        assert codes.get("stale", 0) > 20
        assert codes.get("out_of_order", 0) > 5
        assert codes.get("ok", 0) > 5
        checks.hold(service)

    def test_an_unstamped_alert_is_not_late_because_others_are_quick(
        self, service: Service
    ) -> None:
        [player] = service.take(1)
        body = b'{"ticker": "AAAUSD", "exchange": "TEST", "action": "%s", "quantity": 1, "n": %d}'
        sends = [
            (player.token, body % ((b"buy", b"sell")[number % 2], number)) for number in range(200)
        ]

        ledger = load.post_all(service.port("hooks"), sends, lines=1)
        checks.settled(service)

        assert set(ledger.statuses) == {202}
        assert checks.outcomes(service, [player.tenant_id]) == {"ok": 200}
