"""Who dies when: every choice from one seed."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.chaos import stores
from tests.chaos.harness import Service


def seed() -> int:
    """The run's seed: PINELAB_CHAOS_SEED, or a new one."""
    return int(os.environ.get("PINELAB_CHAOS_SEED") or time.time_ns() % 1_000_000)


@dataclass
class Monkey:
    """Kills at random instants and starts again, from the thread of the test."""

    service: Service
    choose: random.Random
    deaths: Counter[str] = field(default_factory=Counter)

    def rampage(self, victims: "list[str]", *, kills: int, between_s: tuple[float, float]) -> None:
        """Kill so many times; each victim gets its turn before one gets a second.

        Args:
            victims: processes, and `postgres`, `postmaster`, `backend`, `redis`.
            between_s: shortest and longest pause between two kills.
        """
        turn: list[str] = []
        for _ in range(kills):
            time.sleep(self.choose.uniform(*between_s))
            self.service.raise_the_dead()
            if not turn:
                turn = self.choose.sample(victims, len(victims))
            self.kill(turn.pop())

    def kill(self, victim: str) -> None:
        self.deaths[victim] += 1
        ways: dict[str, Callable[[], None]] = {
            "postgres": self._all_of_postgres,
            "postmaster": self._postmaster,
            "backend": self._backend,
            "redis": self._redis,
        }
        ways.get(victim, lambda: self._process(victim))()

    def _process(self, name: str) -> None:
        self.service.kill(name)
        # The supervisor's own pause, a little shorter.
        time.sleep(self.choose.uniform(0.0, 0.3))
        self.service.children[name].start_again()

    def _all_of_postgres(self) -> None:
        self.service.stores.postgres.kill()
        self.service.stores.postgres.start_again()

    def _postmaster(self) -> None:
        self.service.stores.postgres.kill_first()
        self.service.stores.postgres.start_again()

    def _backend(self) -> None:
        """One backend: the server then ends all others and recovers by itself."""
        _, *backends = self.service.stores.postgres.family()
        if backends:
            stores.send(self.choose.choice(backends), signal.SIGKILL)
        self.service.stores.postgres.wait()

    def _redis(self) -> None:
        self.service.stores.redis.kill()
        self.service.stores.redis.start_again()
