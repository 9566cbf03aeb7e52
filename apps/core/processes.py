"""The loop of a process that works through rows: woken by the database, sure by the clock.

A NOTIFY is only a bell. Should it be lost, the sweep finds the row a second later.
"""

import gc
import logging
import select
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType

import psycopg
from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connections

SWEEP_S = 1.0
log = logging.getLogger("pinelab.process")


class Stop:
    """Set by SIGTERM or SIGINT; the loop ends after the round it is in."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def listen(self) -> "Stop":
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._asked)
        return self

    def _asked(self, _number: int, _frame: FrameType | None) -> None:
        self._event.set()

    def wait(self, seconds: float) -> None:
        self._event.wait(seconds)

    def set(self) -> None:
        self._event.set()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()


def run(
    work: Callable[[], int],
    *,
    name: str,
    channels: Sequence[str],
    stop: Stop,
    sweep_s: float = SWEEP_S,
) -> None:
    """Call ``work`` until it finds nothing, sleep until a bell or the sweep, and so on.

    A database that goes away is waited for; any other error ends the process, and the
    supervisor starts it again.
    """
    # A round makes thousands of rows and drops them all: looking for cycles among them after
    # every few hundred is a tenth of its time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    bell = Bell(channels)
    while not stop.is_set:
        try:
            while work() and not stop.is_set:
                pass
            bell.wait(sweep_s, stop)
        except (OperationalError, InterfaceError, psycopg.OperationalError) as error:
            log.warning("%s: the database is away (%s); trying again", name, type(error).__name__)
            bell.close()
            close_old_connections()
            stop.wait(0.5)
    bell.close()


class Bell:
    """Listens on the database for wake-ups."""

    def __init__(self, channels: Sequence[str]) -> None:
        self.channels = channels
        self.connection: psycopg.Connection[tuple[object, ...]] | None = None

    def wait(self, seconds: float, stop: Stop) -> None:
        """Sleep until somebody rings, the time is up, or the process is asked to stop."""
        if self.connection is None:
            self.connection = self._listen()
            return  # What rang before we listened is found by the next round.
        connection = self.connection
        deadline = seconds
        while deadline > 0 and not stop.is_set:
            ready, _, _ = select.select([connection.fileno()], [], [], min(deadline, 0.25))
            if ready:
                for _notice in connection.notifies(timeout=0):
                    pass
                return
            deadline -= 0.25

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def _listen(self) -> psycopg.Connection[tuple[object, ...]]:
        alias = "ops" if "ops" in settings.DATABASES else "default"
        parameters = connections[alias].get_connection_params()
        connection = psycopg.connect(
            host=parameters.get("host"),
            port=parameters.get("port"),
            user=parameters.get("user"),
            password=parameters.get("password"),
            dbname=parameters.get("dbname"),
            autocommit=True,
        )
        for channel in self.channels:
            connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
        return connection
