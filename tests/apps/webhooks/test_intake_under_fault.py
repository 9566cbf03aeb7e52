"""The intake while its database is frozen, cut off or killed: a server of the test's own."""

import signal
import threading
import time

import pytest

from tests.apps.webhooks.intake_process import Reply, running
from tests.apps.webhooks.own_postgres import OwnPostgres

pytestmark = pytest.mark.chaos
RATES = {"PINELAB_HOOKS_RATE": "10000", "PINELAB_HOOKS_BURST": "10000"}


class TestInvariant1AnsweredMeansDurable:
    """Mutants: synchronous_commit off; an answer before the commit."""

    def test_no_answered_alert_is_lost_when_every_database_process_is_killed(
        self, own_postgres: OwnPostgres
    ) -> None:
        tokens = own_postgres.tokens(8)
        answered: set[str] = set()
        is_over = threading.Event()
        with running(own_postgres.databases.hooks, **RATES) as hooks:

            def send(token: str) -> None:
                number = 0
                while not is_over.is_set():
                    number += 1
                    reply = hooks.post(token, b"%d" % number)
                    assert reply.status in {202, 503}
                    if reply.status == 202:
                        answered.add(reply.alert_id)

            senders = [threading.Thread(target=send, args=[token]) for token in tokens]
            for sender in senders:
                sender.start()
            for _ in range(3):
                time.sleep(1.0)
                own_postgres.kill()
                own_postgres.start_again()
            time.sleep(1.0)
            is_over.set()
            for sender in senders:
                sender.join()

        stored = {str(row[0]) for row in own_postgres.rows("SELECT id FROM webhooks_alert")}
        assert len(answered) > 100
        assert answered - stored == set()

    def test_it_recovers_by_itself(self, own_postgres: OwnPostgres) -> None:
        [token] = own_postgres.tokens(1)
        with running(own_postgres.databases.hooks, **RATES) as hooks:
            assert hooks.post(token, b"before").status == 202
            own_postgres.kill()
            during = hooks.post(token, b"during")
            own_postgres.start_again()
            after = until_accepted(lambda: hooks.post(token, b"after"))

        assert during.status == 503
        assert during.headers["retry-after"] == "1"
        assert during.json["messageCode"] == "store-unavailable"
        assert after.status == 202

    def test_it_starts_before_its_database(self, own_postgres: OwnPostgres) -> None:
        [token] = own_postgres.tokens(1)
        own_postgres.kill()
        with running(own_postgres.databases.hooks, **RATES) as hooks:
            assert hooks.request("GET", "/health/ready").status == 503
            assert hooks.post(token, b"1").status == 503
            own_postgres.start_again()

            assert until_accepted(lambda: hooks.post(token, b"2")).status == 202
            assert hooks.request("GET", "/health/ready").status == 200


class TestInvariant2AnswerInTime:
    """Mutants: no timeout for the statement's answer and none for the request."""

    def test_a_frozen_database_is_answered_503_within_two_and_a_half_seconds(
        self, own_postgres: OwnPostgres
    ) -> None:
        tokens = own_postgres.tokens(4)
        with running(own_postgres.databases.hooks, **RATES) as hooks:
            for token in tokens:
                assert hooks.post(token, b"before").status == 202
            own_postgres.signal_all(signal.SIGSTOP)
            try:
                replies: list[Reply] = []
                began = time.monotonic()
                while time.monotonic() - began < 6:
                    sends = [(token, b"%f" % time.monotonic()) for token in tokens]
                    replies += hooks.post_together(sends * 3)
            finally:
                own_postgres.signal_all(signal.SIGCONT)
            after = until_accepted(lambda: hooks.post(tokens[0], b"after"))

        assert {reply.status for reply in replies} == {503}
        assert max(reply.seconds for reply in replies) < 2.5
        assert after.status == 202

    def test_a_lock_that_one_alert_waits_for_does_not_hold_up_the_others(
        self, own_postgres: OwnPostgres
    ) -> None:
        import psycopg

        held, free = own_postgres.tokens(2)
        with (
            running(own_postgres.databases.hooks, PINELAB_HOOKS_CONNECTIONS="1") as hooks,
            psycopg.connect(own_postgres.admin_url) as blocker,
        ):
            blocker.execute(
                "SELECT FROM accounts_tenant t JOIN webhooks_endpoint e ON e.tenant_id = t.id"
                " WHERE e.token_digest = sha256(%s) FOR UPDATE OF t",
                [held.encode()],
            )
            replies = hooks.post_together([(held, b"1"), *[(free, b"%d" % n) for n in range(8)]])
            blocker.rollback()

        assert replies[0].status == 503
        assert [reply.status for reply in replies[1:]] == [202] * 8
        assert max(reply.seconds for reply in replies) < 2.5


def until_accepted(send: "object") -> Reply:
    until = time.monotonic() + 5
    while True:
        reply: Reply = send()  # type: ignore[operator]
        if reply.status == 202 or time.monotonic() > until:
            return reply
        time.sleep(0.1)
