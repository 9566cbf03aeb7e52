"""What the intake refused, counted in memory and written once a second."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import psycopg

from apps.webhooks.groupcommit import Connection, NotDurable, answered, connect

EVERY_S = 1.0
# A flood of random tokens must not fill the memory; what is left out here is in the metrics.
MOST_KINDS = 10_000
NOTE = "SELECT app.note_refusals(%s::bytea[], %s::text[], %s::smallint[], %s::integer[])"

Kind = tuple[bytes, str, int]


@dataclass(slots=True)
class Refusals:
    """The refused requests since the last writing, by token, code and status."""

    url: str
    _counts: Counter[Kind] = field(default_factory=Counter)
    _connection: Connection | None = None
    _task: "asyncio.Task[None] | None" = None

    def open(self) -> None:
        self._task = asyncio.create_task(self._write_on())

    async def close(self) -> None:
        """Write what is counted, and stop."""
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._try_to_write()
        if self._connection:
            await self._connection.close()

    def note(self, digest: bytes, code: str, status: int) -> None:
        kind = (digest, code, status)
        if kind in self._counts or len(self._counts) < MOST_KINDS:
            self._counts[kind] += 1

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self._try_to_write()

    async def _try_to_write(self) -> None:
        """Write the counts; while the database is away they are kept."""
        if not self._counts:
            return
        counts, self._counts = self._counts, Counter()
        try:
            if self._connection is None or self._connection.closed:
                self._connection = await connect(self.url)
            await answered(self._connection, write(self._connection, counts))
        except (psycopg.Error, NotDurable):
            self._counts.update(counts)


async def write(connection: Connection, counts: Counter[Kind]) -> None:
    kinds = list(counts)
    await connection.execute(
        NOTE,
        [
            [digest for digest, _, _ in kinds],
            [code for _, code, _ in kinds],
            [status for _, _, status in kinds],
            [counts[kind] for kind in kinds],
        ],
    )
