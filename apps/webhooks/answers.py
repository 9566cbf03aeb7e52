"""What the intake says: each answer encoded once, with the code and hint a user can act on."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

Event = dict[str, Any]
JSON = (b"content-type", b"application/json")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP response, as the two ASGI messages that carry it."""

    status: int
    code: str
    start: Event
    body: Event
    closes: bool = False
    message: str = ""
    hint: str = ""


def refusal(
    status: int,
    code: str,
    message: str,
    hint: str,
    *headers: tuple[bytes, bytes],
    closes: bool = False,
) -> Answer:
    """An error in the form that users of webhook services know.

    Args:
        closes: the request's body was not read, so the connection cannot be used again.
    """
    body = msgspec.json.encode(
        {"success": False, "messageCode": code, "message": message, "hint": hint}
    )
    ending = ((b"connection", b"close"),) if closes else ()
    begin = start(status, body, *headers, *ending)
    return Answer(status, code, begin, content(body), closes, message, hint)


def start(status: int, body: bytes, *headers: tuple[bytes, bytes]) -> Event:
    length = (b"content-length", str(len(body)).encode())
    return {"type": "http.response.start", "status": status, "headers": [JSON, length, *headers]}


def content(body: bytes) -> Event:
    return {"type": "http.response.body", "body": body}


def plain(body: bytes) -> Answer:
    headers = [
        (b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    return Answer(
        200,
        "metrics",
        {"type": "http.response.start", "status": 200, "headers": headers},
        content(body),
    )


def accepted(alert_id: UUID, *, duplicate: bool) -> Answer:
    """The alert is on the disk; it says nothing about what will be done with it."""
    code, pattern, started = ACCEPTED[duplicate]
    return Answer(202, code, started, content(pattern % str(alert_id).encode()))


def acceptance(code: str, duplicate: bytes) -> tuple[str, bytes, Event]:
    pattern = b'{"success": true, "id": "%b", "duplicate": ' + duplicate + b"}"
    # Equally long whatever the identifier: the headers are made once.
    return code, pattern, start(202, pattern % str(UUID(int=0)).encode())


ACCEPTED = {True: acceptance("duplicate", b"true"), False: acceptance("accepted", b"false")}

SOON = (b"retry-after", b"1")
UNKNOWN_TOKEN = refusal(
    404,
    "unknown-token",
    "There is no webhook at this address.",
    "Copy the address again from Webhooks; it may have been deleted or rotated.",
)
NO_TOKEN = refusal(
    401,
    "token-missing",
    "The request names no webhook.",
    "Send the token as X-Webhook-Token, as Authorization: Bearer, or in the body as secret.",
)
NOT_FOUND = refusal(
    404,
    "not-found",
    "There is nothing at this path.",
    "Alerts are sent to /hooks/<token>.",
)
USE_POST = refusal(
    405,
    "method-not-allowed",
    "This address takes alerts by POST.",
    "It works; it is not a page. Paste it as the webhook URL of a TradingView alert.",
    (b"allow", b"POST"),
)
TOO_LARGE = refusal(
    413,
    "message-too-large",
    "The message is longer than 131072 bytes and was not stored.",
    "Shorten the alert's message.",
    closes=True,
)
TOO_SLOW = refusal(
    408,
    "message-too-slow",
    "The message did not arrive whole within 2 seconds and was not stored.",
    "Send it again; if this stays so, look at the network between sender and here.",
    closes=True,
)
TOO_MANY = refusal(
    429,
    "too-many-requests",
    "More alerts than this account may send in a second; this one was not stored.",
    "Let the alert fire once per bar, or spread alerts over time.",
    SOON,
)
AWAY = refusal(
    503,
    "store-unavailable",
    "The alert could not be stored just now.",
    "Send it again in a moment; TradingView does so by itself.",
    SOON,
)
BUSY = refusal(
    503,
    "store-busy",
    "Too many alerts are waiting to be stored; this one was not.",
    "Send it again in a moment; TradingView does so by itself.",
    SOON,
)
ALIVE = Answer(200, "alive", start(200, b'{"status": "ok"}'), content(b'{"status": "ok"}'))
NOT_READY = refusal(503, "not-ready", "The database does not answer.", "This ends by itself.", SOON)

# What may be counted against an endpoint, for the page that lists it.
REFUSALS = {answer.code: answer for answer in (USE_POST, TOO_LARGE, TOO_SLOW, TOO_MANY, AWAY, BUSY)}
