"""Invariant 2: an answer within 2.5 seconds, whatever the database does."""

import random
import signal
import threading
import time

import pytest

from tests.chaos import checks, load
from tests.chaos.harness import Service, until

NEVER_LONGER_S = 2.5


@pytest.mark.chaos
class TestAFrozenDatabase:
    """Mutants: no timeout for the statement's answer (groupcommit.ANSWER_TIMEOUT_S) and none for
    the request (intake.DEADLINE_S).
    """

    def test_is_answered_in_time_and_nothing_is_stored_twice_afterwards(
        self, service: Service, chance: random.Random
    ) -> None:
        players = service.take(4)
        burst = load.Load(service.port("hooks"), pause_s=0.02)
        sending = threading.Thread(target=burst.each, args=[players], kwargs={"senders": 24})
        sending.start()
        try:
            time.sleep(chance.uniform(0.5, 1.5))
            service.stores.postgres.signal_all(signal.SIGSTOP)
            time.sleep(3)
        finally:
            service.stores.postgres.signal_all(signal.SIGCONT)
            time.sleep(2)
            burst.is_over.set()
            sending.join()

        ledger = burst.ledger
        assert set(ledger.statuses) == {202, 503}
        assert ledger.slowest_s < NEVER_LONGER_S
        assert checks.lost(service, ledger) == set()
        # A 503 of which the commit came through later: the resend found it.
        twice = "SELECT body FROM webhooks_alert GROUP BY endpoint_id, body HAVING count(*) > 1"
        assert service.stores.rows(twice) == []
        checks.settled(service)
        checks.hold(service)

    def test_is_used_again_when_it_answers(self, service: Service) -> None:
        [player] = service.take(1)
        service.stores.postgres.signal_all(signal.SIGSTOP)
        try:
            during = load.post_all(service.port("hooks"), [(player.token, load.alert())])
        finally:
            service.stores.postgres.signal_all(signal.SIGCONT)

        def accepted() -> bool:
            after = load.post_all(service.port("hooks"), [(player.token, load.alert())])
            return set(after.statuses) == {202}

        assert set(during.statuses) == {503}
        assert until(accepted, patience_s=10) < 3


@pytest.mark.chaos
class TestABarsClose:
    def test_a_burst_of_many_tenants_is_accepted_in_time(self, service: Service) -> None:
        players = service.take(8)
        sends = [(player.token, load.alert()) for player in players for _ in range(125)]

        ledger = load.post_all(service.port("hooks"), sends, lines=200)

        assert set(ledger.statuses) == {202}
        assert ledger.slowest_s < NEVER_LONGER_S
        checks.settled(service)
        checks.hold(service)
