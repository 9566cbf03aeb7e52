"""Who is asking, for which tenant, and what they may do: from a session or from a key."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, Literal, cast
from uuid import UUID

from django.contrib.sessions.backends.base import SessionBase
from django.db import connections
from django.http import HttpRequest

from apps.accounts.audit import Actor
from apps.accounts.models import ApiKey, Membership, Scope, User
from apps.core.errors import DomainError
from apps.core.tenancy import acting_for, signed_user

SCOPES_OF_ROLE: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        Membership.Role.VIEWER.value: frozenset({Scope.READ.value}),
        Membership.Role.TRADER.value: frozenset({Scope.READ.value, Scope.TRADE.value}),
        Membership.Role.OWNER.value: frozenset(
            {Scope.READ.value, Scope.TRADE.value, Scope.MANAGE.value}
        ),
    }
)
# How fresh `last_used_at` is; each use would otherwise be a write.
LAST_USED_STEP = timedelta(minutes=1)
SESSION_TENANT = "tenant_id"


class KeyRefused(DomainError):
    """The request carries a key that opens nothing."""

    status = HTTPStatus.UNAUTHORIZED


class InvalidKey(KeyRefused):
    """No such key was ever given out, or it is not a key at all."""

    code = "invalid_key"


class RevokedKey(KeyRefused):
    """The key was revoked, or its user is no longer a member."""

    code = "revoked_key"


class ExpiredKey(KeyRefused):
    """The key's time is over."""

    code = "expired_key"


class MissingScope(DomainError):
    """Whoever asks is known, and may not do this."""

    status = HTTPStatus.FORBIDDEN
    code = "missing_scope"


@dataclass(frozen=True, slots=True)
class Place:
    """One of the tenants a user belongs to."""

    tenant_id: UUID
    tenant_name: str
    role: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, for which tenant, and what they may do there.

    Attributes:
        others: where else this user may go; only a session can change its tenant.
    """

    user: User
    tenant_id: UUID
    tenant_name: str
    role: str
    scopes: frozenset[str]
    via: Literal["session", "key"]
    key_id: UUID | None = None
    others: tuple[Place, ...] = ()

    @property
    def actor(self) -> Actor:
        return Actor(user_id=self.user.pk, key_id=self.key_id)

    def may(self, scope: str) -> bool:
        return scope in self.scopes

    def require(self, scope: str) -> None:
        """Raise MissingScope unless this identity has the scope."""
        if not self.may(scope):
            raise MissingScope(
                f"This needs the scope {scope}; yours: {', '.join(sorted(self.scopes))}."
            )


class TenantRequest(HttpRequest):
    """A request inside a tenant, as TenantMiddleware hands it to a view."""

    identity: Identity
    user: User


def attached_to(request: HttpRequest) -> Identity | None:
    """The identity that TenantMiddleware found for this request, if any."""
    return cast(Identity | None, getattr(request, "identity", None))


def places_of(user: User) -> list[Place]:
    """The tenants a logged-in user belongs to, the oldest membership first."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT * FROM app.memberships_of(%s)", [signed_user(user.pk)])
        return [Place(*row) for row in cursor.fetchall()]


def of_session(user: User, *, chosen: UUID | None = None) -> Identity | None:
    """The identity of a logged-in user, in the tenant they chose or else in their first."""
    places = places_of(user)
    if not places:
        return None
    place = next((place for place in places if place.tenant_id == chosen), places[0])
    return Identity(
        user=user,
        tenant_id=place.tenant_id,
        tenant_name=place.tenant_name,
        role=place.role,
        scopes=SCOPES_OF_ROLE[place.role],
        via="session",
        others=tuple(other for other in places if other is not place),
    )


def of_key(secret: str, *, now: datetime) -> Identity:
    """The identity behind an API key; notes that it was used.

    Raises:
        InvalidKey, RevokedKey, ExpiredKey: it opens nothing.
    """
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT key_id, tenant_id FROM app.api_key(%s)", [digest(secret)])
        found = cursor.fetchone()
    if found is None:
        raise InvalidKey("This API key is not known.", hint="Check that it was copied whole.")
    key_id, tenant_id = found
    with acting_for(tenant_id):
        key = ApiKey.objects.select_related("user", "tenant").filter(pk=key_id).first()
        if key is None:
            raise InvalidKey("This API key is not known.")
        role = _role_behind(key, now)
        _note_use(key, now)
    return Identity(
        user=key.user,
        tenant_id=tenant_id,
        tenant_name=key.tenant.name,
        role=role,
        scopes=SCOPES_OF_ROLE[role] & set(key.scopes),
        via="key",
        key_id=key_id,
    )


def digest(secret: str) -> bytes:
    """What is stored of a key: the secret has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).digest()


def chosen_in(session: SessionBase) -> UUID | None:
    """The tenant that was chosen in this session."""
    value = session.get(SESSION_TENANT)
    return UUID(value) if value else None


def choose_in(session: SessionBase, tenant_id: UUID) -> None:
    session[SESSION_TENANT] = str(tenant_id)


def _role_behind(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        raise RevokedKey("This API key was revoked.", hint="Create another one in the settings.")
    if not key.is_usable(now):
        raise ExpiredKey("This API key has expired.", hint="Create another one in the settings.")
    membership = Membership.objects.filter(user_id=key.user_id).first()
    if membership is None or not key.user.is_active:
        raise RevokedKey("The user of this API key is no longer a member here.")
    return membership.role


def _note_use(key: ApiKey, now: datetime) -> None:
    if key.last_used_at is None or key.last_used_at < now - LAST_USED_STEP:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
