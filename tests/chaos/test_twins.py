"""Invariant 3: duplicates collapse and twins do not."""

import asyncio
import threading
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tests.chaos import checks, load
from tests.chaos.cast import Player
from tests.chaos.harness import Service
from tests.chaos.load import Ledger, Line
from tests.chaos.monkey import Monkey

LINES = 4


@dataclass(frozen=True)
class Scale:
    pairs: int
    kills: int


class TestTheSameSendFourTimes:
    """Mutants: a digest that differs for equal bytes; one over the first 60 bytes only, so that
    twins collapse (both in functions.sql).
    """

    @pytest.mark.chaos
    def test_is_one_alert_and_its_twin_another(
        self, service: Service, angry_monkey: Monkey
    ) -> None:
        self.collapse(service, angry_monkey, Scale(pairs=150, kills=4))

    @pytest.mark.chaos_full
    def test_is_one_alert_and_its_twin_another_for_long(
        self, service: Service, angry_monkey: Monkey
    ) -> None:
        self.collapse(service, angry_monkey, Scale(pairs=3_000, kills=20))

    def collapse(self, service: Service, monkey: Monkey, scale: Scale) -> None:
        [player] = service.take(1)
        ledger = Ledger()
        with service.beside("hooks-2"):
            sending = threading.Thread(
                target=lambda: asyncio.run(send_pairs(service, player, scale.pairs, ledger))
            )
            sending.start()
            try:
                monkey.rampage(["hooks", "hooks-2"], kills=scale.kills, between_s=(0.3, 1.5))
                service.ready("hooks", "hooks-2")
            finally:
                sending.join()

        ids: dict[bytes, set[str]] = defaultdict(set)
        for sent in ledger.sends:
            if sent.is_acked:
                ids[sent.body].add(sent.alert_id)
        assert len(ids) == 2 * scale.pairs
        assert [body for body, found in ids.items() if len(found) != 1] == []
        assert len(set.union(*ids.values())) == 2 * scale.pairs
        stored = service.stores.rows(
            "SELECT id::text FROM webhooks_alert WHERE tenant_id = %s", player.tenant_id
        )
        assert {row[0] for row in stored} == set.union(*ids.values())
        checks.settled(service)
        checks.hold(service)
        assert checks.outcomes(service, [player.tenant_id]).keys() == {"ok"}


async def send_pairs(service: Service, player: Player, pairs: int, ledger: Ledger) -> None:
    """Each body over four lines at once to two processes; its twin differs in the time only."""
    ports = [service.port("hooks"), service.port("hooks-2")]
    lines = [Line(ports[number % 2]) for number in range(LINES)]
    for _ in range(pairs):
        fired_at = datetime.now(UTC)
        for at in (fired_at, fired_at + timedelta(milliseconds=1)):
            body = load.alert(timenow=load.stamp(at), alert_id=None)
            await asyncio.gather(*(until_acked(line, player.token, body, ledger) for line in lines))
    for line in lines:
        line.close()


async def until_acked(line: Line, token: str, body: bytes, ledger: Ledger) -> None:
    """A process that was killed is tried again: only what was answered can be compared."""
    while True:
        sent = await line.post(token, body)
        ledger.sends.append(sent)
        if sent.is_acked:
            return
        await asyncio.sleep(0.1)
