"""One socket from the outside, as a client of the service sees it."""

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from websockets.sync.client import connect
from websockets.typing import Origin

if TYPE_CHECKING:
    from django.test import Client


def ticket_of(client: "Client") -> str:
    response = client.post("/api/v1/live/ticket")
    assert response.status_code == 201, response.content
    ticket: str = response.json()["ticket"]
    return ticket


class Wire:
    """A connection with the messages that came over it."""

    def __init__(self, port: int, client: "Client", ticket: str | None = None) -> None:
        ticket = ticket or ticket_of(client)
        self._opened = ExitStack()
        self.line = self._opened.enter_context(
            connect(
                f"ws://127.0.0.1:{port}/ws/v1/?ticket={ticket}",
                origin=Origin("http://localhost:8000"),
                compression=None,
                open_timeout=10,
            )
        )
        self.welcome = self.next()

    def next(self, timeout: float = 5.0) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.line.recv(timeout=timeout))
        return message

    def events(self, count: int, timeout: float = 5.0) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while len(found) < count:
            message = self.next(timeout)
            if message["type"] == "event":
                found.append(message)
        return found

    def subscribe(self, *channels: str, since: int | None = None) -> None:
        self.say({"type": "subscribe", "channels": list(channels or ["events"]), "since": since})

    def say(self, message: object) -> None:
        self.line.send(json.dumps(message))

    def close(self) -> None:
        self._opened.close()
