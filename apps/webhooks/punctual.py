"""uvicorn's HTTP with one rule more: a request's head arrives in time or not at all."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_TIMEOUT_S = 2.0
SILENCE_TIMEOUT_S = 10.0


class PunctualHttp(HttpToolsProtocol):
    """Close a connection that opens a request, or itself, and does not go on.

    Without it a sender that trickles a header holds its connection for ever.
    """

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._close_in(SILENCE_TIMEOUT_S)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._close_in(HEAD_TIMEOUT_S)

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _close_in(self, seconds: float) -> None:
        self._stop_waiting()
        self._due = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
