"""How often a password may be tried: counted in Redis, and without Redis nobody may try."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from django.core.cache import cache
from redis.exceptions import RedisError

from apps.core.errors import DomainError

WINDOW_S = 900
PER_ACCOUNT_AND_ADDRESS = 5
# From many addresses at once; more than one person mistypes in a quarter of an hour.
PER_ACCOUNT = 25
# Several people may share an address.
PER_ADDRESS = 50


class TooManyAttempts(DomainError):
    """The password was tried too often in the last quarter of an hour."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "too_many_attempts"


class LogInUnavailable(DomainError):
    """Attempts cannot be counted just now, so none is allowed."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "log_in_unavailable"


def count(*, email: str, address: str) -> None:
    """Count one attempt, before it is made: many at once cannot slip through together.

    Raises:
        TooManyAttempts: one of the limits is passed.
        LogInUnavailable: Redis does not answer.
    """
    with counted():
        passed = [key for key, limit in _limits(email, address).items() if _increment(key) > limit]
    if passed:
        raise TooManyAttempts(
            "Too many log-in attempts.", hint="Wait fifteen minutes, then try again."
        )


def forget(*, email: str, address: str) -> None:
    """Start anew after a success; an address keeps its count, it may be trying many accounts."""
    with counted():
        cache.delete_many([_pair(email, address), _account(email)])


@contextmanager
def counted() -> Iterator[None]:
    """Turn the absence of Redis into a refusal."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise LogInUnavailable(
            "Logging in is not possible just now.", hint="Try again in a minute."
        ) from error


def _limits(email: str, address: str) -> dict[str, int]:
    return {
        _pair(email, address): PER_ACCOUNT_AND_ADDRESS,
        _account(email): PER_ACCOUNT,
        _key("address", address): PER_ADDRESS,
    }


def _pair(email: str, address: str) -> str:
    return _key("pair", email, address)


def _account(email: str) -> str:
    return _key("account", email)


def _key(*parts: str) -> str:
    # Hashed: what people type does not belong in Redis, and may be of any length.
    return f"log-in:{parts[0]}:{hashlib.sha256(repr(parts[1:]).encode()).hexdigest()}"


def _increment(key: str) -> int:
    cache.add(key, 0, timeout=WINDOW_S)
    try:
        return cache.incr(key)
    except ValueError:  # it expired in between
        cache.set(key, 1, timeout=WINDOW_S)
        return 1
