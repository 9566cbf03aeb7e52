"""Invariant 22 over HTTP: a tenant's context never outlives its request."""

import http.client
import json
import signal
import threading
import time
from dataclasses import dataclass, field

import pytest

from tests.chaos import checks, load, stores
from tests.chaos.cast import Player
from tests.chaos.harness import Service
from tests.chaos.monkey import Monkey

LINES = 12
PATHS = ("endpoints", "alerts", "orders", "accounts")


@dataclass
class Reader:
    """One keep-alive connection over which several tenants ask in turn."""

    service: Service
    players: list[Player]
    answered: int = 0
    strangers: list[tuple[str, str, str]] = field(default_factory=list)
    failures: set[int] = field(default_factory=set)
    is_over: threading.Event = field(default_factory=threading.Event)

    def read(self, number: int) -> None:
        while not self.is_over.is_set():
            line = http.client.HTTPConnection("127.0.0.1", self.service.port("web"), timeout=10)
            try:
                while not self.is_over.is_set():
                    number += 1
                    self.ask(line, self.players[number % len(self.players)], number)
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.05)
            finally:
                line.close()

    def ask(self, line: http.client.HTTPConnection, player: Player, number: int) -> None:
        path = PATHS[number % len(PATHS)]
        line.request("GET", f"/api/v1/{path}", headers={"Authorization": f"Bearer {player.key}"})
        response = line.getresponse()
        content = response.read()
        if response.status != 200:
            self.failures.add(response.status)
            return
        self.answered += 1
        text = json.dumps(json.loads(content))
        for other in self.players:
            own = other is player
            marks = (other.endpoint_id, other.account_id, other.deployment_id)
            if not own and any(mark in text for mark in marks):
                self.strangers.append((path, player.name, other.name))


@pytest.mark.chaos
class TestOneConnectionManyTenants:
    """Mutant: acting_for sets the context for the session, once for each connection."""

    def test_each_answer_is_the_callers_own_while_workers_die(
        self, service: Service, angry_monkey: Monkey
    ) -> None:
        players = service.take(3)
        sends = [(player.token, load.alert()) for player in players for _ in range(5)]
        load.post_all(service.port("hooks"), sends)
        checks.settled(service)
        readers = [Reader(service, players) for _ in range(LINES)]
        threads = [
            threading.Thread(target=reader.read, args=[number])
            for number, reader in enumerate(readers)
        ]
        for thread in threads:
            thread.start()
        try:
            for number in range(3):
                time.sleep(angry_monkey.choose.uniform(0.5, 1.5))
                service.raise_the_dead()
                if number % 2:
                    angry_monkey.kill("web")
                else:
                    self.kill_a_worker(service)
                service.ready("web")
            time.sleep(1)
        finally:
            for reader in readers:
                reader.is_over.set()
            for thread in threads:
                thread.join()

        assert [stranger for reader in readers for stranger in reader.strangers] == []
        # A key that is looked for inside another tenant would be refused.
        assert set.union(*(reader.failures for reader in readers)) <= {502, 503}
        assert sum(reader.answered for reader in readers) > 60

    def kill_a_worker(self, service: Service) -> None:
        web = stores.Server(service.children["web"].program, service.children["web"].process)
        for worker in web.family()[1:]:
            stores.send(worker, signal.SIGKILL)
