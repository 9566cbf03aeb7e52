"""The intake as a sender sees it: a real process on a real PostgreSQL.

The numbered invariants are those of the reliability design; each names the mutant that was
tried and made its test fail.
"""

import re
import secrets
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.utils import timezone

from apps.accounts.models import Tenant
from apps.core.tenancy import acting_for
from apps.webhooks import selectors, services
from apps.webhooks.models import Alert, Endpoint, Refusal
from pinelab.embedded import Services
from tests.apps.webhooks.intake_process import Intake, free_port, launch
from tests.benchmarks import load

MakeEndpoint = Callable[[Tenant], tuple[Endpoint, str]]
StartHooks = Callable[..., Intake]
TRADINGVIEW = "/api/v1/tradingview/webhook"


@pytest.fixture
def token(alice: Tenant, endpoint_of: MakeEndpoint) -> str:
    return endpoint_of(alice)[1]


def alerts(tenant: Tenant) -> list[Alert]:
    with acting_for(tenant):
        return list(selectors.alerts().order_by("received_at"))


def bodies(tenant: Tenant) -> list[bytes]:
    return [bytes(alert.body) for alert in alerts(tenant)]


def refusals(tenant: Tenant) -> dict[str, int]:
    with acting_for(tenant):
        return {refusal.code: refusal.count for refusal in Refusal.objects.all()}


class TestTakingAnAlert:
    def test_it_is_stored_before_it_is_answered(
        self, hooks: Intake, alice: Tenant, token: str
    ) -> None:
        reply = hooks.post(token, b'{"action": "buy"}', Content_Type="application/json")

        [alert] = alerts(alice)
        assert reply.status == 202
        assert reply.json == {"success": True, "id": str(alert.pk), "duplicate": False}
        assert bytes(alert.body) == b'{"action": "buy"}'
        assert alert.content_type == "application/json"
        assert alert.source_ip == "127.0.0.1"
        assert alert.status == Alert.Status.STORED
        assert abs(timezone.now() - alert.received_at) < timedelta(seconds=10)

    @pytest.mark.parametrize(
        "body",
        [b"", b"\0", b"\xff\xfe\x00\x80", b"\r\n\r\n", "Käufe \u202e".encode(), b"x" * 131_072],
    )
    def test_every_byte_is_kept(
        self, hooks: Intake, alice: Tenant, token: str, body: bytes
    ) -> None:
        assert hooks.post(token, body).status == 202

        assert bodies(alice) == [body]

    def test_alerts_keep_the_order_in_which_they_came(
        self, hooks: Intake, alice: Tenant, token: str
    ) -> None:
        sent = [b"%d" % number for number in range(20)]
        for body in sent:
            hooks.post(token, body)

        assert bodies(alice) == sent

    def test_the_pipeline_is_woken(
        self, hooks: Intake, token: str, superuser: "psycopg.Connection[Any]", stage: Services
    ) -> None:
        assert stage.admin_url
        with psycopg.connect(stage.admin_url, autocommit=True) as listener:
            listener.execute("LISTEN pinelab_alerts")
            hooks.post(token, b"buy")

            assert [note.channel for note in listener.notifies(timeout=2, stop_after=1)] == [
                "pinelab_alerts"
            ]

    def test_a_body_in_pieces_is_put_together(
        self, hooks: Intake, alice: Tenant, token: str
    ) -> None:
        with socket.create_connection(("127.0.0.1", hooks.port)) as line:
            line.sendall(f"POST /hooks/{token} HTTP/1.1\r\nHost: h\r\n".encode())
            line.sendall(b"Transfer-Encoding: chunked\r\n\r\n3\r\nbuy\r\n")
            time.sleep(0.1)
            line.sendall(b"5\r\n now!\r\n0\r\n\r\n")
            assert line.recv(1000).startswith(b"HTTP/1.1 202")

        assert bodies(alice) == [b"buy now!"]


class TestTheTokenElsewhere:
    @pytest.mark.parametrize("headers", [{"X-Webhook-Token": "{}"}, {"Authorization": "Bearer {}"}])
    def test_it_may_stand_in_a_header(
        self, hooks: Intake, alice: Tenant, token: str, headers: dict[str, str]
    ) -> None:
        filled = {name: value.format(token) for name, value in headers.items()}

        assert hooks.request("POST", TRADINGVIEW, b"buy", filled).status == 202
        assert bodies(alice) == [b"buy"]

    @pytest.mark.parametrize(
        "template",
        [
            '{"action": "buy", "secret": "%s"}',
            '{"apikey":"%s","action":"buy"}',
            '{"passphrase" : "%s", "again": "%s"}',
            "secret=%s action=buy",
            "{'Secret': '%s', broken",
        ],
    )
    def test_it_may_stand_in_the_body_and_is_never_kept(
        self, hooks: Intake, alice: Tenant, token: str, template: str
    ) -> None:
        body = template.replace("%s", token).encode()

        reply = hooks.request("POST", TRADINGVIEW, body)

        assert reply.status == 202
        assert bodies(alice) == [template.replace("%s", "*" * 43).encode()]

    def test_it_is_not_kept_either_when_it_is_in_the_address_too(
        self, hooks: Intake, alice: Tenant, token: str
    ) -> None:
        hooks.post(token, b"my secret is " + token.encode())

        assert bodies(alice) == [b"my secret is " + b"*" * 43]

    @pytest.mark.parametrize("body", [b"{}", b'{"secret": ""}', b'{"secret": "short"}'])
    def test_without_one_the_sender_is_told_where_it_goes(
        self, hooks: Intake, alice: Tenant, body: bytes
    ) -> None:
        reply = hooks.request("POST", TRADINGVIEW, body)

        assert reply.status == 401
        assert reply.json["messageCode"] == "token-missing"
        assert "X-Webhook-Token" in reply.json["hint"]

    def test_looking_for_it_is_cheap(self, hooks: Intake, database: None) -> None:
        body = (b'"secret"' + b" " * 8) * 8_000

        assert hooks.request("POST", TRADINGVIEW, body).seconds < 0.5


class TestRefusing:
    def test_an_unknown_token(self, hooks: Intake, database: None) -> None:
        reply = hooks.post(secrets.token_urlsafe(32), b"buy")

        assert reply.status == 404
        assert reply.json["success"] is False
        assert reply.json["messageCode"] == "unknown-token"
        assert set(reply.json) == {"success", "messageCode", "message", "hint"}

    @pytest.mark.parametrize("path", ["/hooks/", "/hooks/short", "/hooks/a/b", "/hooks", "/x"])
    def test_what_is_no_address(self, hooks: Intake, path: str) -> None:
        assert hooks.request("POST", path, b"buy").status == 404

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
    def test_another_method(self, hooks: Intake, alice: Tenant, token: str, method: str) -> None:
        reply = hooks.request(method, f"/hooks/{token}")

        assert reply.status == 405
        assert reply.headers["allow"] == "POST"
        if method != "HEAD":
            assert "POST" in reply.json["message"]

    def test_a_megabyte(self, hooks: Intake, alice: Tenant, token: str) -> None:
        reply = hooks.post(token, b"x" * 2**20)

        assert reply.status == 413
        assert reply.json["messageCode"] == "message-too-large"
        assert bodies(alice) == []

    def test_a_megabyte_that_does_not_say_its_size(
        self, hooks: Intake, alice: Tenant, token: str
    ) -> None:
        with socket.create_connection(("127.0.0.1", hooks.port)) as line:
            line.sendall(f"POST /hooks/{token} HTTP/1.1\r\nHost: h\r\n".encode())
            line.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
            line.sendall((b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 64)
            assert line.recv(1000).startswith(b"HTTP/1.1 413")

        assert bodies(alice) == []

    def test_a_body_that_does_not_come(self, hooks: Intake, alice: Tenant, token: str) -> None:
        with socket.create_connection(("127.0.0.1", hooks.port), timeout=5) as line:
            head = f"POST /hooks/{token} HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nbu"
            began = time.monotonic()
            line.sendall(head.encode())
            answer = line.recv(1000)

        assert answer.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began < 2.5

    def test_a_head_that_does_not_come(self, hooks: Intake) -> None:
        with socket.create_connection(("127.0.0.1", hooks.port), timeout=5) as line:
            line.sendall(b"POST /hooks/x HTTP/1.1\r\nX: ")
            began = time.monotonic()

            assert line.recv(1000) == b""
            assert time.monotonic() - began < 3

    def test_what_was_refused_is_counted_for_its_owner(
        self, hooks: Intake, alice: Tenant, bob: Tenant, token: str
    ) -> None:
        hooks.post(token, b"x" * 200_000)
        hooks.post(token, b"x" * 200_000)
        hooks.request("GET", f"/hooks/{token}")

        until = time.monotonic() + 4
        while time.monotonic() < until and len(refusals(alice)) < 2:
            time.sleep(0.1)
        assert refusals(alice) == {"message-too-large": 2, "method-not-allowed": 1}
        assert refusals(bob) == {}


class TestAddresses:
    def test_after_a_rotation_both_work_until_the_overlap_ends(
        self, hooks: Intake, alice: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        endpoint, old = endpoint_of(alice)
        with acting_for(alice):
            new = services.rotate_endpoint(
                endpoint_id=endpoint.pk, overlap=timedelta(seconds=1.5), now=timezone.now()
            )

        within = [hooks.post(old, b"1").status, hooks.post(new, b"2").status]
        time.sleep(1.6)
        after = [hooks.post(old, b"3").status, hooks.post(new, b"4").status]

        assert (within, after) == ([202, 202], [404, 202])
        assert bodies(alice) == [b"1", b"2", b"4"]

    def test_a_deleted_one_dies_at_once_and_keeps_its_alerts(
        self, hooks: Intake, alice: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        endpoint, old = endpoint_of(alice)
        with acting_for(alice):
            new = services.rotate_endpoint(endpoint_id=endpoint.pk, now=timezone.now())
        hooks.post(new, b"1")
        with acting_for(alice):
            services.delete_endpoint(endpoint_id=endpoint.pk, now=timezone.now())

        assert [hooks.post(old, b"2").status, hooks.post(new, b"3").status] == [404, 404]
        assert bodies(alice) == [b"1"]

    def test_a_paused_one_still_stores(
        self, hooks: Intake, alice: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        endpoint, token = endpoint_of(alice)
        with acting_for(alice):
            services.pause_endpoint(endpoint_id=endpoint.pk, now=timezone.now())

        assert hooks.post(token, b"1").status == 202
        assert bodies(alice) == [b"1"]

    def test_a_rotation_that_takes_its_time_holds_nobody_up(
        self,
        hooks: Intake,
        alice: Tenant,
        endpoint_of: MakeEndpoint,
    ) -> None:
        """Mutant: the constraint endpoint_token_once without its condition."""
        endpoint, token = endpoint_of(alice)
        with acting_for(alice):
            services.rotate_endpoint(endpoint_id=endpoint.pk, now=timezone.now())
            reply = hooks.post(token, b"1")

        assert reply.status == 202
        assert reply.seconds < 0.4


class TestInvariant3DuplicatesCollapseTwinsDoNot:
    """Mutants: a window without end; a window that is never looked at."""

    def test_four_sends_in_a_row_are_one_alert(
        self, hooks: Intake, alice: Tenant, token: str
    ) -> None:
        replies = [hooks.post(token, b"buy") for _ in range(4)]

        [alert] = alerts(alice)
        assert [reply.json["duplicate"] for reply in replies] == [False, True, True, True]
        assert {reply.alert_id for reply in replies} == {str(alert.pk)}
        assert selectors.repeats_of(alert) == 3

    def test_four_sends_at_once_are_one_alert(
        self, hooks: Intake, alice: Tenant, token: str
    ) -> None:
        for number in range(10):
            body = b"buy %d" % number
            replies = hooks.post_together([(token, body)] * 4)

            assert sorted(reply.json["duplicate"] for reply in replies) == [False] + [True] * 3
            assert len({reply.alert_id for reply in replies}) == 1
        assert [selectors.repeats_of(alert) for alert in alerts(alice)] == [3] * 10

    def test_four_sends_to_two_processes_are_one_alert(
        self, hooks: Intake, start_hooks: StartHooks, alice: Tenant, token: str
    ) -> None:
        other = start_hooks()
        for number in range(5):
            body = b"sell %d" % number
            first = hooks.post_together([(token, body)] * 2)
            second = other.post_together([(token, body)] * 2)
            assert len({reply.alert_id for reply in first + second}) == 1

        assert len(alerts(alice)) == 5

    def test_other_bytes_are_another_alert(self, hooks: Intake, alice: Tenant, token: str) -> None:
        twins = [b'{"action":"buy","fired_at":"2026-01-05T14:30:0%dZ"}' % s for s in range(4)]

        replies = hooks.post_together([(token, body) for body in twins])

        assert not any(reply.json["duplicate"] for reply in replies)
        assert sorted(bodies(alice)) == twins

    def test_the_same_bytes_after_the_window_are_another_alert(
        self, start_hooks: StartHooks, alice: Tenant, token: str
    ) -> None:
        hooks = start_hooks(PINELAB_HOOKS_RESEND_WINDOW_S="0.6")
        first = [hooks.post(token, b"buy"), hooks.post(token, b"buy")]
        time.sleep(0.7)
        second = [hooks.post(token, b"buy"), hooks.post(token, b"buy")]

        assert [reply.json["duplicate"] for reply in first + second] == [False, True] * 2
        assert [selectors.repeats_of(alert) for alert in alerts(alice)] == [1, 1]

    def test_the_same_bytes_at_two_endpoints_are_two_alerts(
        self, hooks: Intake, alice: Tenant, bob: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        hers, hers_too, his = (endpoint_of(tenant)[1] for tenant in (alice, alice, bob))

        replies = hooks.post_together([(hers, b"buy"), (hers_too, b"buy"), (his, b"buy")])

        assert not any(reply.json["duplicate"] for reply in replies)
        assert (len(alerts(alice)), len(alerts(bob))) == (2, 1)

    def test_a_repeat_waits_for_nobody_who_decides_the_alert(
        self,
        hooks: Intake,
        alice: Tenant,
        token: str,
        superuser: "psycopg.Connection[Any]",
    ) -> None:
        hooks.post(token, b"buy")
        with superuser.transaction():
            superuser.execute("SELECT FROM webhooks_alert FOR UPDATE")
            reply = hooks.post(token, b"buy")

        assert reply.json["duplicate"] is True
        assert reply.seconds < 0.4


class TestInvariant7NoisyNeighbour:
    """Mutant: Rates.allows answers True."""

    def test_one_tenant_gets_429_while_another_is_served(
        self,
        start_hooks: StartHooks,
        alice: Tenant,
        bob: Tenant,
        endpoint_of: MakeEndpoint,
    ) -> None:
        hooks = start_hooks(PINELAB_HOOKS_RATE="5", PINELAB_HOOKS_BURST="20")
        noisy, noisy_too, quiet = (endpoint_of(tenant)[1] for tenant in (alice, alice, bob))
        # Until the first answer it is not known that two tokens are one tenant's.
        hooks.post(noisy, b"first")
        hooks.post(noisy_too, b"first")

        flood = [(noisy if n % 2 else noisy_too, b"%d" % n) for n in range(100)]
        replies = hooks.post_together(flood + [(quiet, b"%d" % n) for n in range(10)])

        statuses = [reply.status for reply in replies]
        assert 15 <= statuses[:100].count(202) <= 30
        assert set(statuses[:100]) == {202, 429}
        assert statuses[100:] == [202] * 10
        assert len(alerts(bob)) == 10
        refused = next(reply for reply in replies if reply.status == 429)
        assert refused.json["messageCode"] == "too-many-requests"
        assert refused.headers["retry-after"] == "1"

    def test_the_rate_comes_back(self, start_hooks: StartHooks, alice: Tenant, token: str) -> None:
        hooks = start_hooks(PINELAB_HOOKS_RATE="5", PINELAB_HOOKS_BURST="2")
        first = [hooks.post(token, b"%d" % n).status for n in range(4)]
        time.sleep(0.5)

        assert first.count(429) >= 1
        assert hooks.post(token, b"later").status == 202


class TestBurst:
    def test_a_bar_close_over_500_tenants_loses_nothing(
        self, hooks: Intake, superuser: "psycopg.Connection[Any]"
    ) -> None:
        from tests.apps.webhooks.own_postgres import add_endpoint

        tokens = [secrets.token_urlsafe(32) for _ in range(500)]
        with superuser.transaction():
            for token in tokens:
                add_endpoint(superuser, token)

        measured = load.send("burst", hooks.port, tokens, {"connections": 400, "requests": 2_000})

        assert dict(measured.statuses) == {b"202": 2_000}
        [(stored,)] = superuser.execute("SELECT count(*) FROM webhooks_alert").fetchall()
        assert stored == 2_000
        # One second on a quiet machine; the tests share theirs.
        assert measured.seconds < 4


class TestTheSendersAddress:
    def test_without_a_trusted_proxy_a_header_is_not_believed(
        self, hooks: Intake, alice: Tenant, token: str
    ) -> None:
        hooks.post(token, b"1", X_Forwarded_For="8.8.8.8")

        assert [alert.source_ip for alert in alerts(alice)] == ["127.0.0.1"]

    @pytest.mark.parametrize(
        ("hops", "expected"),
        [
            ("8.8.8.8, 52.89.214.238", "52.89.214.238"),
            ("52.89.214.238", "52.89.214.238"),
            ("1.1.1.1, nonsense", None),
            ("2001:db8::1", "2001:db8::1"),
        ],
    )
    def test_behind_one_the_last_hop_counts(
        self,
        start_hooks: StartHooks,
        alice: Tenant,
        token: str,
        hops: str,
        expected: str | None,
    ) -> None:
        hooks = start_hooks(PINELAB_TRUSTED_PROXY="1")
        hooks.post(token, b"1", X_Forwarded_For=hops)

        assert [alert.source_ip for alert in alerts(alice)] == [expected]


class TestTheProcess:
    def test_it_does_not_start_where_an_answer_would_not_be_durable(self, stage: Services) -> None:
        """Invariant 1. Mutant: DURABLE contains "off"."""
        url = f"{stage.databases.hooks}?options=-csynchronous_commit%3Doff"
        process = launch(url, free_port())

        said, _ = process.communicate(timeout=20)

        assert process.returncode != 0
        assert "synchronous_commit is off" in said

    def test_it_says_what_is_missing(self) -> None:
        process = launch("", free_port(), DATABASE_HOOKS_URL="nonsense")
        said, _ = process.communicate(timeout=20)

        assert process.returncode != 0
        assert "does not start" in said

    def test_it_is_alive_and_ready(self, hooks: Intake) -> None:
        assert hooks.request("GET", "/health/live").status == 200
        assert hooks.request("GET", "/health/ready").status == 200

    def test_it_tells_its_figures(self, hooks: Intake, alice: Tenant, token: str) -> None:
        hooks.post(token, b"buy")
        hooks.post(token, b"buy")

        text = hooks.request("GET", "/metrics").body.decode()

        assert re.search(r'answers_total\{code="accepted",status="202"\} [1-9]', text)
        assert re.search(r'answers_total\{code="duplicate",status="202"\} [1-9]', text)
        assert re.search(r'answer_seconds_bucket\{le="\+Inf"\} [1-9]', text)
        assert token not in text

    def test_it_stores_and_answers_what_it_took_before_it_ends(
        self,
        start_hooks: StartHooks,
        alice: Tenant,
        token: str,
        superuser: "psycopg.Connection[Any]",
    ) -> None:
        hooks = start_hooks()
        with ThreadPoolExecutor(20) as pool:
            with superuser.transaction():
                superuser.execute("LOCK TABLE webhooks_recentbody IN EXCLUSIVE MODE")
                sent = [pool.submit(hooks.post, token, b"%d" % number) for number in range(20)]
                time.sleep(0.2)
                hooks.process.send_signal(signal.SIGTERM)
                time.sleep(0.1)
            replies = [future.result() for future in sent]
        said, _ = hooks.process.communicate(timeout=15)

        assert [reply.status for reply in replies] == [202] * 20
        assert {reply.alert_id for reply in replies} == {str(a.pk) for a in alerts(alice)}
        assert "Finished server process" in said

    def test_it_never_writes_a_token(
        self, start_hooks: StartHooks, alice: Tenant, token: str
    ) -> None:
        hooks = start_hooks()
        hooks.post(token, b"buy")
        hooks.request("GET", f"/hooks/{token}")
        with socket.create_connection(("127.0.0.1", hooks.port)) as line:
            line.sendall(f"POST /hooks/{token} NONSENSE\r\n\r\n".encode())
            line.recv(100)

        assert token not in hooks.stop()

    def test_it_imports_no_django(self) -> None:
        import subprocess
        import sys

        code = "import sys, apps.webhooks.intake; print('django' in sys.modules)"
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )

        assert done.stdout.strip() == "False"


class TestTheRole:
    """What the intake's role can do besides its two functions: nothing."""

    @pytest.fixture
    def role(self, stage: Services) -> Any:
        with psycopg.connect(stage.databases.hooks, autocommit=True) as connection:
            yield connection

    def test_every_table_is_closed_to_it(
        self, role: "psycopg.Connection[Any]", superuser: "psycopg.Connection[Any]"
    ) -> None:
        tables = superuser.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname IN ('public', 'app')"
        ).fetchall()
        assert len(tables) > 20

        for (table,) in tables:
            for statement in (
                f"SELECT FROM {table}",
                f"DELETE FROM {table}",
                f"UPDATE {table} SET id = id",
                f"INSERT INTO {table} DEFAULT VALUES",
                f"TRUNCATE {table}",
            ):
                with pytest.raises(
                    (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedColumn)
                ):
                    role.execute(statement)

    def test_every_other_function_is_closed_to_it(
        self, superuser: "psycopg.Connection[Any]"
    ) -> None:
        allowed = superuser.execute(
            "SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
            " WHERE n.nspname IN ('public', 'app')"
            " AND has_function_privilege('pinelab_hooks', p.oid, 'EXECUTE')"
        ).fetchall()

        assert {name for (name,) in allowed} == {"store_alerts", "note_refusals"}

    @pytest.mark.parametrize("role_name", ["pinelab_app", "pinelab_ops"])
    def test_nobody_else_may_use_them(
        self, superuser: "psycopg.Connection[Any]", role_name: str
    ) -> None:
        allowed = superuser.execute(
            "SELECT p.proname FROM pg_proc p"
            " WHERE p.proname IN ('store_alerts', 'note_refusals', 'endpoint_of')"
            " AND has_function_privilege(%s, p.oid, 'EXECUTE')",
            [role_name],
        ).fetchall()

        assert allowed == []

    def test_it_makes_nothing(self, role: "psycopg.Connection[Any]") -> None:
        for statement in (
            "CREATE TABLE public.t ()",
            "CREATE TABLE app.t ()",
            "CREATE SCHEMA s",
            "CREATE TEMP TABLE t ()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                role.execute(statement)


class TestStoreAlerts:
    """What the database's function promises to the intake."""

    def test_a_batch_that_is_sent_again_whole_stays_stored_once(
        self, stage: Services, alice: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        _, token = endpoint_of(alice)
        ids = [UUID(int=number) for number in range(1, 4)]
        with psycopg.connect(stage.databases.hooks, autocommit=True) as role:
            first = self.store(role, token, ids, [b"a", b"b", b"a"])
            again = self.store(role, token, ids[:2], [b"a", b"b"])

        assert first == [("stored", ids[0]), ("stored", ids[1]), ("repeat", ids[0])]
        assert again == [("stored", ids[0]), ("stored", ids[1])]
        assert [(a.pk, selectors.repeats_of(a)) for a in alerts(alice)] == [
            (ids[0], 1),
            (ids[1], 0),
        ]

    def store(
        self, role: "psycopg.Connection[Any]", token: str, ids: list[UUID], sent: list[bytes]
    ) -> list[tuple[str, UUID]]:
        n = len(ids)
        rows = role.execute(
            "SELECT outcome, alert_id FROM app.store_alerts(%s, %b, %b, %s, %s, '30 s')"
            " ORDER BY place",
            [ids, [services.digest(token)] * n, sent, [""] * n, [""] * n],
        )
        return rows.fetchall()
