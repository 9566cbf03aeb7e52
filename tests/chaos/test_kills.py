"""Invariants 1, 4, 8, 9, 12 and 18: processes and database die at random instants under load."""

import threading
from dataclasses import dataclass

import pytest

from tests.chaos import checks
from tests.chaos.harness import Service
from tests.chaos.load import Ledger, Load
from tests.chaos.monkey import Monkey

VICTIMS = ["hooks", "pipeline", "desk", "web", "market", "postgres", "postmaster", "backend"]
DECIDED_WITHIN_S = 60.0


@dataclass(frozen=True)
class Scale:
    senders: int
    players: int
    kills: int
    between_s: tuple[float, float]
    pause_s: float
    least_acked: int


def storm(service: Service, monkey: Monkey, scale: Scale) -> tuple[Ledger, float]:
    """Load and kills together; what was answered, and how long the last decision took."""
    players = service.take(scale.players)
    load = Load(service.port("hooks"), pause_s=scale.pause_s)
    sending = threading.Thread(target=load.each, args=[players], kwargs={"senders": scale.senders})
    sending.start()
    try:
        monkey.rampage(VICTIMS, kills=scale.kills, between_s=scale.between_s)
    finally:
        load.is_over.set()
        sending.join()
    service.raise_the_dead()
    took = checks.settled(service, patience_s=DECIDED_WITHIN_S)
    codes = checks.outcomes(service, [player.tenant_id for player in players])
    # Shown with -s: the figures of docs/reliability.md.
    print(f"\n{load.ledger.summary()}; killed {dict(monkey.deaths)}; decided {took:.1f} s after"  # noqa: T201
          f" the end: {codes}")  # fmt: skip
    return load.ledger, took


def judge(service: Service, ledger: Ledger, scale: Scale) -> None:
    assert len(ledger.acked) >= scale.least_acked
    assert set(ledger.statuses) <= {0, 202, 503}
    assert checks.lost(service, ledger) == set()
    assert service.stores.rows("SELECT FROM signals_decision WHERE code = 'internal_error'") == []
    orders = service.stores.rows("SELECT count(*) FROM trading_order WHERE status = 'filled'")
    assert orders[0][0] > scale.least_acked / 4
    checks.hold(service)


class TestNothingIsLostOrDoubled:
    """Mutants: synchronous_commit off in the intake (groupcommit.OPTIONS and roles.sql); the
    pipeline commits `decided` before its decisions.
    """

    @pytest.mark.chaos
    def test_when_everything_is_killed_in_turn(
        self, service: Service, angry_monkey: Monkey
    ) -> None:
        scale = Scale(
            senders=6, players=6, kills=10, between_s=(0.3, 1.8), pause_s=0.04, least_acked=300
        )

        ledger, _ = storm(service, angry_monkey, scale)

        judge(service, ledger, scale)

    @pytest.mark.chaos_full
    def test_under_full_load(self, service: Service, angry_monkey: Monkey) -> None:
        scale = Scale(
            senders=64, players=16, kills=60, between_s=(0.5, 7.0), pause_s=0.6, least_acked=10_000
        )

        ledger, _ = storm(service, angry_monkey, scale)

        judge(service, ledger, scale)
