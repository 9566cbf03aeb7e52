"""Invariant 4 without Redis: emptied and killed, it takes nothing with it."""

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import redis
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.chaos import checks, load
from tests.chaos.cast import Player
from tests.chaos.harness import Service, until
from tests.chaos.monkey import Monkey


@dataclass
class Listener:
    """A browser that comes back by `since` whenever its socket is lost, in a thread."""

    service: Service
    player: Player
    heard: list[int] = field(default_factory=list)
    openings: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)

    def listen(self) -> None:
        while not self.is_over.is_set():
            try:
                self._listen_once()
            except (OSError, TimeoutError, WebSocketException):
                time.sleep(0.2)

    def _listen_once(self) -> None:
        answer = self.service.api(self.player, "POST", "live/ticket")
        if answer.status != 201:
            time.sleep(0.3)
            return
        address = f"ws://127.0.0.1:{self.service.port('live')}/ws/v1/"
        with connect(f"{address}?ticket={answer.json['ticket']}", open_timeout=5) as line:
            self.openings += 1
            since = self.heard[-1] if self.heard else 0
            line.send(json.dumps({"type": "subscribe", "channels": ["events"], "since": since}))
            while not self.is_over.is_set():
                message = json.loads(line.recv(timeout=5))
                if message["type"] == "event":
                    self.heard.append(message["seq"])


@contextmanager
def in_thread(target: object, stop: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=target)  # type: ignore[arg-type]
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class TestRedisLost:
    """Mutants: a socket that joins at the newest event instead of at `since`; the pipeline woken
    through Redis only (no sweep, no NOTIFY).
    """

    @pytest.mark.chaos
    def test_nothing_is_lost_and_the_socket_tells_all(
        self, service: Service, angry_monkey: Monkey, chance: random.Random
    ) -> None:
        self.lose(service, angry_monkey, chance, rounds=5)

    @pytest.mark.chaos_full
    def test_nothing_is_lost_for_long(
        self, service: Service, angry_monkey: Monkey, chance: random.Random
    ) -> None:
        self.lose(service, angry_monkey, chance, rounds=40)

    def lose(self, service: Service, monkey: Monkey, chance: random.Random, *, rounds: int) -> None:
        players = service.take(2)
        listener = Listener(service, players[0])
        sender = load.Load(service.port("hooks"), pause_s=0.05)
        with (
            in_thread(listener.listen, listener.is_over),
            in_thread(lambda: sender.each(players, senders=2), sender.is_over),
        ):
            ways = ["flush", "redis", "away", "live"]
            for number in range(rounds):
                time.sleep(chance.uniform(0.5, 2.0))
                self.harm(service, monkey, ways[number % len(ways)])
            service.ready()
            sender.is_over.set()
            checks.settled(service)
            head = service.stores.rows(
                "SELECT max(sequence) FROM core_event WHERE tenant_id = %s", players[0].tenant_id
            )[0][0]
            until(
                lambda: listener.heard and listener.heard[-1] >= head,
                patience_s=20,
                what=f"event {head} told",
            )

        assert listener.heard == list(range(1, len(listener.heard) + 1))
        assert listener.openings > 1
        assert set(sender.ledger.statuses) == {202}
        assert checks.lost(service, sender.ledger) == set()
        checks.hold(service)

    def harm(self, service: Service, monkey: Monkey, way: str) -> None:
        match way:
            case "flush":
                with redis.Redis.from_url(service.stores.redis_url) as line:
                    line.flushall()
            case "away":
                service.stores.redis.kill()
                time.sleep(1)
                service.stores.redis.start_again()
            case _:
                monkey.kill(way)


@pytest.mark.chaos
class TestPagesWithoutRedis:
    """Mutant: sessions that are read through the cache (cached_db): every page is a 500."""

    @pytest.fixture
    def without_redis(self, service: Service) -> Iterator[None]:
        service.stores.redis.kill()
        yield
        service.stores.redis.start_again()

    @pytest.mark.parametrize("path", ["/", "/health/live", "/health/ready", "/api/v1/alerts"])
    def test_whoever_is_logged_in_is_answered(
        self, service: Service, without_redis: None, path: str
    ) -> None:
        [player] = service.take(1)

        answer = service.ask("web", "GET", path, headers={"Cookie": f"session={player.session}"})

        assert answer.status == 200

    def test_a_key_is_answered(self, service: Service, without_redis: None) -> None:
        [player] = service.take(1)

        assert service.api(player, "GET", "alerts").status == 200

    def test_alerts_are_decided(self, service: Service, without_redis: None) -> None:
        [player] = service.take(1)
        sends = [(player.token, load.alert()) for _ in range(20)]

        ledger = load.post_all(service.port("hooks"), sends)

        assert set(ledger.statuses) == {202}
        assert checks.settled(service) < 5
