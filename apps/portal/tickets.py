"""What opens a live socket: random, for one use within thirty seconds, kept as a hash in Redis.

A ticket stands in the socket's address, and addresses end up in logs; by then it opens nothing.
"""

import hashlib
import secrets
from functools import lru_cache
from http import HTTPStatus
from typing import Final
from uuid import UUID

import msgspec
import redis
from django.conf import settings
from redis import asyncio as async_redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from apps.accounts.identity import Identity
from apps.core.errors import DomainError

LIFETIME_S: Final = 30
PATIENCE_S: Final = 1.0


class LiveUnavailable(DomainError):
    """No ticket can be kept just now; the pages work without the socket."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "live_unavailable"


class Holder(msgspec.Struct, frozen=True):
    """Who was given a ticket, and what must stay as it is for the socket to stay open.

    Attributes:
        session: the key of the browser's session; empty for an API key's.
        password: a fingerprint of the user's password, which ends sessions when it changes.
    """

    user_id: int
    tenant_id: UUID
    scopes: frozenset[str]
    session: str = ""
    password: str = ""
    key_id: UUID | None = None


def issue(identity: Identity, *, session: str | None) -> str:
    """A ticket for whoever asks.

    Raises:
        LiveUnavailable: Redis is away.
    """
    ticket = secrets.token_urlsafe(32)
    holder = Holder(
        user_id=identity.user.pk,
        tenant_id=identity.tenant_id,
        scopes=identity.scopes,
        session=(session or "") if identity.via == "session" else "",
        password=fingerprint(identity.user.password) if identity.via == "session" else "",
        key_id=identity.key_id,
    )
    try:
        _keeper().set(_name(ticket), msgspec.json.encode(holder), ex=LIFETIME_S)
    except RedisError as error:
        raise LiveUnavailable(
            "Live updates are away for the moment.",
            hint="The page shows what is stored; load it again to see what is new.",
        ) from error
    return ticket


async def redeem(ticket: str) -> Holder | None:
    """Whose ticket this is; None when it was used, is too old or never was one.

    Raises:
        RedisError: Redis is away.
    """
    async with async_redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S
    ) as keeper:
        kept = await keeper.getdel(_name(ticket))
    return msgspec.json.decode(kept, type=Holder) if kept else None


def fingerprint(password: str) -> str:
    """Of the password's own hash; the database computes the same."""
    return hashlib.sha256(password.encode()).hexdigest()


def _name(ticket: str) -> str:
    return f"pinelab:ticket:{hashlib.sha256(ticket.encode()).hexdigest()}"


@lru_cache(maxsize=1)
def _keeper() -> redis.Redis:
    once = Retry(NoBackoff(), 1)
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=PATIENCE_S,
        socket_connect_timeout=PATIENCE_S,
        retry=once,
    )
