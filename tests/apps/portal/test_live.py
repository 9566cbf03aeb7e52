import itertools
import json
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import redis
from django.test import Client
from django.utils import timezone
from websockets.exceptions import ConnectionClosed, InvalidStatus

from apps.core import events
from apps.core.ids import uuid7
from apps.core.tenancy import acting_across, acting_for
from tests.apps.portal.conftest import Connect, LiveProcess
from tests.apps.portal.wire import Wire, ticket_of
from tests.factories import NOON, make_instrument
from tests.stage import STAGE

if TYPE_CHECKING:
    from apps.accounts.models import Tenant, User

Clients = Callable[["User | Tenant"], Client]


def happen(tenant: "Tenant", count: int = 1, *, each: int = 1) -> None:
    """Append events, in transactions of ``each``."""
    for _ in range(count // each):
        with acting_for(tenant):
            for _ in range(each):
                events.append(
                    kind="order.filled",
                    subject="order",
                    subject_id=uuid7(),
                    at=timezone.now(),
                    text="Bought 1 BTCUSD",
                    payload={"price": "100.5"},
                )


def numbers(messages: list[dict[str, Any]]) -> list[int]:
    return [message["seq"] for message in messages]


class TestTheTicket:
    def test_opens_one_connection(
        self, live: LiveProcess, alice: "Tenant", client_for: Clients
    ) -> None:
        client = client_for(alice)
        ticket = ticket_of(client)
        Wire(live.port, client, ticket).close()

        with pytest.raises(InvalidStatus) as refused:
            Wire(live.port, client, ticket)

        assert refused.value.response.status_code == 403

    @pytest.mark.parametrize("forged", ["x", "a" * 43, "%00", ""])
    def test_cannot_be_made_up(
        self, live: LiveProcess, alice: "Tenant", client_for: Clients, forged: str
    ) -> None:
        with pytest.raises(InvalidStatus) as refused:
            Wire(live.port, client_for(alice), forged or "&")

        assert refused.value.response.status_code == 403

    def test_is_worth_nothing_after_its_time(
        self, live: LiveProcess, alice: "Tenant", client_for: Clients
    ) -> None:
        client = client_for(alice)
        ticket = ticket_of(client)
        keeper: Any = redis.Redis.from_url(STAGE.redis_url)
        (name,) = keeper.keys("pinelab:ticket:*")
        assert 0 < keeper.ttl(name) <= 30
        assert ticket.encode() not in name + keeper.get(name)
        keeper.pexpire(name, 1)
        time.sleep(0.05)

        with pytest.raises(InvalidStatus):
            Wire(live.port, client, ticket)

    def test_is_given_to_nobody_who_is_not_logged_in(self, database: None) -> None:
        assert Client().post("/api/v1/live/ticket").status_code in {401, 403}

    def test_is_not_given_while_redis_is_away(
        self, alice: "Tenant", client_for: Clients, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from apps.portal import tickets

        gone = redis.Redis(port=1, socket_connect_timeout=0.2)
        monkeypatch.setattr(tickets, "_keeper", lambda: gone)

        answer = client_for(alice).post("/api/v1/live/ticket")

        assert answer.status_code == 503
        assert answer.json()["code"] == "live_unavailable"

    def test_of_another_sites_page_opens_nothing(
        self, live: LiveProcess, alice: "Tenant", client_for: Clients
    ) -> None:
        from websockets.sync.client import connect
        from websockets.typing import Origin

        ticket = ticket_of(client_for(alice))

        with (
            pytest.raises(InvalidStatus) as refused,
            connect(
                f"ws://127.0.0.1:{live.port}/ws/v1/?ticket={ticket}",
                origin=Origin("https://evil.example"),
            ),
        ):
            pass

        assert refused.value.response.status_code == 403


class TestEvents:
    def test_come_in_order_without_a_gap(
        self, connect: Connect, alice: "Tenant", client_for: Clients
    ) -> None:
        happen(alice, 3)
        wire = connect(client_for(alice))
        wire.subscribe(since=0)

        happen(alice, 60, each=3)

        assert wire.welcome == {"type": "welcome", "seq": 3, "data": {"heartbeat_s": 30.0}}
        assert numbers(wire.events(63)) == list(range(1, 64))

    def test_say_what_happened(
        self, connect: Connect, alice: "Tenant", client_for: Clients
    ) -> None:
        wire = connect(client_for(alice))
        wire.subscribe()
        happen(alice)

        (message,) = wire.events(1)

        assert message["data"]["kind"] == "order.filled"
        assert message["data"]["subject"] == "order"
        assert message["data"]["text"] == "Bought 1 BTCUSD"
        assert message["data"]["payload"]["price"] == "100.5"
        assert message["data"]["at"].endswith("Z")

    def test_begin_after_the_one_the_client_has(
        self, connect: Connect, alice: "Tenant", client_for: Clients
    ) -> None:
        happen(alice, 1_200, each=400)
        wire = connect(client_for(alice))

        wire.subscribe(since=5)
        happen(alice, 3)

        assert numbers(wire.events(1_198)) == list(range(6, 1_204))

    def test_are_told_without_a_gap_while_a_backlog_is_read(
        self, connect: Connect, alice: "Tenant", client_for: Clients
    ) -> None:
        happen(alice, 2_000, each=1_000)
        client = client_for(alice)
        first, second = connect(client), connect(client)
        first.subscribe()
        second.subscribe(since=0)

        happen(alice, 100)

        assert numbers(first.events(100)) == list(range(2_001, 2_101))
        assert numbers(second.events(2_100)) == list(range(1, 2_101))

    def test_of_another_tenant_never_come(
        self, connect: Connect, alice: "Tenant", bob: "Tenant", client_for: Clients
    ) -> None:
        hers, his = connect(client_for(alice)), connect(client_for(bob))
        hers.subscribe(since=0)
        his.subscribe(since=0)

        for _ in range(10):
            happen(alice)
            happen(bob, 2)

        assert numbers(hers.events(10)) == list(range(1, 11))
        assert numbers(his.events(20)) == list(range(1, 21))
        with pytest.raises(TimeoutError):
            hers.next(timeout=1.5)

    def test_survive_the_death_of_the_process(
        self, live: LiveProcess, alice: "Tenant", client_for: Clients
    ) -> None:
        client = client_for(alice)
        wire = Wire(live.port, client)
        wire.subscribe()
        happen(alice, 2)
        assert numbers(wire.events(2)) == [1, 2]

        live.kill()
        with pytest.raises(ConnectionClosed):
            wire.next()
        happen(alice, 5)
        live.start()
        wire = Wire(live.port, client)
        wire.subscribe(since=2)
        happen(alice)

        assert numbers(wire.events(6)) == [3, 4, 5, 6, 7, 8]
        wire.close()

    def test_survive_the_loss_of_everything_in_redis(
        self, connect: Connect, alice: "Tenant", client_for: Clients
    ) -> None:
        client = client_for(alice)
        wire = connect(client)
        wire.subscribe()
        happen(alice)

        redis.Redis.from_url(STAGE.redis_url).flushall()
        happen(alice, 5)

        assert numbers(wire.events(6)) == [1, 2, 3, 4, 5, 6]

    def test_survive_the_loss_of_the_bell(
        self,
        connect: Connect,
        alice: "Tenant",
        client_for: Clients,
        superuser: "psycopg.Connection[Any]",
    ) -> None:
        wire = connect(client_for(alice))
        wire.subscribe()
        happen(alice)
        wire.events(1)

        cut = superuser.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'pinelab live'"
        ).fetchone()
        happen(alice, 5)

        assert cut
        assert cut[0] >= 1
        assert numbers(wire.events(5)) == [2, 3, 4, 5, 6]


class TestThoseWhoMayNotListenAnyMore:
    def test_a_removed_member_is_cut_off(
        self, connect: Connect, alice: "Tenant", charlie: "User", client_for: Clients
    ) -> None:
        from apps.accounts.models import Membership

        hers, his = connect(client_for(alice)), connect(client_for(charlie))
        hers.subscribe()
        his.subscribe()
        with acting_for(alice):
            Membership.objects.filter(user=charlie).delete()
        began = time.monotonic()

        with pytest.raises(ConnectionClosed) as cut:
            his.next(timeout=10)

        assert time.monotonic() - began < 5
        assert cut.value.rcvd is not None
        assert cut.value.rcvd.code == 4403
        happen(alice)
        assert len(hers.events(1)) == 1

    def test_a_log_out_ends_the_socket(
        self, connect: Connect, alice: "Tenant", client_for: Clients
    ) -> None:
        client = client_for(alice)
        wire = connect(client)

        client.logout()

        with pytest.raises(ConnectionClosed):
            wire.next(timeout=6)


class TestTheProtocol:
    def test_a_bar_comes_as_it_forms_and_as_it_closed(
        self, connect: Connect, alice: "Tenant", client_for: Clients
    ) -> None:
        from apps.marketdata import feed

        btc, eur = make_instrument(), make_instrument("EURUSD")
        wire = connect(client_for(alice))
        wire.subscribe("events", f"bars:{btc.pk}")
        time.sleep(0.3)
        with acting_across("test: market"):
            feed.open_bar(eur, NOON, Decimal(1))
            feed.open_bar(btc, NOON, Decimal(100))
            feed.close_bar(btc, NOON, Decimal(101), volume=Decimal(5))
            feed.open_bar(btc, NOON + timedelta(minutes=1), Decimal(102))

        bars = list(itertools.islice(iter(wire.next, None), 2))

        assert [(bar["data"]["close"], bar["data"]["closed"]) for bar in bars] == [
            (101.0, True),
            (102.0, False),
        ]
        assert {bar["data"]["instrument"] for bar in bars} == {str(btc.pk)}
        assert bars[0]["data"]["time"] == int(NOON.timestamp())

    @pytest.mark.parametrize(
        "said",
        ["no json", '{"type":"shout"}', '{"type":"subscribe"}',
         '{"type":"subscribe","channels":["events"],"since":-1}'],
    )  # fmt: skip
    def test_nonsense_is_answered_and_the_line_stays(
        self, connect: Connect, alice: "Tenant", client_for: Clients, said: str
    ) -> None:
        wire = connect(client_for(alice))

        wire.line.send(said)

        assert wire.next()["data"]["code"] == "invalid_message"
        wire.subscribe()
        happen(alice)
        assert len(wire.events(1)) == 1

    def test_an_unknown_channel_is_named(
        self, connect: Connect, alice: "Tenant", client_for: Clients
    ) -> None:
        wire = connect(client_for(alice))

        wire.subscribe("events", "orders")

        assert wire.next()["data"] == {
            "code": "unknown_channel",
            "message": "There is no channel orders.",
        }

    def test_a_message_too_large_ends_the_line(
        self, connect: Connect, alice: "Tenant", client_for: Clients
    ) -> None:
        wire = connect(client_for(alice))

        wire.line.send(json.dumps({"type": "subscribe", "channels": ["x" * 17_000]}))

        with pytest.raises(ConnectionClosed) as ended:
            wire.next()
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1009

    def test_a_user_has_twenty_places(
        self, connect: Connect, alice: "Tenant", client_for: Clients
    ) -> None:
        client = client_for(alice)
        for _ in range(20):
            connect(client)

        one_more = connect(client)

        assert one_more.welcome["data"]["code"] == "too_many_sockets"

    def test_a_restart_says_so(
        self, live: LiveProcess, alice: "Tenant", client_for: Clients
    ) -> None:
        wire = Wire(live.port, client_for(alice))

        live.terminate()

        with pytest.raises(ConnectionClosed) as ended:
            wire.next()
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1012
