"""What can be done to users, members and keys; each leaves a row in the audit log."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final
from uuid import UUID

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from apps.accounts import attempts, audit
from apps.accounts.audit import Actor
from apps.accounts.identity import SCOPES_OF_ROLE, Place, digest, places_of
from apps.accounts.models import ApiKey, Membership, Scope, Tenant, User
from apps.core.errors import DomainError, Invalid, NotFound
from apps.core.ids import uuid7
from apps.core.tenancy import acting_for

SECRET_BYTES: Final = 32
PREFIX_CHARACTERS: Final = 10
TOKEN_LIFETIME: Final = timedelta(days=90)


class EmailTaken(DomainError):
    """Somebody has signed up with this address."""

    code = "email_taken"


class WeakPassword(Invalid):
    """The password is not one that keeps others out."""

    code = "weak_password"


class NoSuchUser(Invalid):
    """Nobody has signed up with this address and confirmed it."""

    code = "no_such_user"


class AlreadyMember(DomainError):
    """The user is a member of this tenant."""

    code = "already_member"


class LastOwner(DomainError):
    """Without this owner nobody could manage the tenant."""

    code = "last_owner"


class KeyBeyondRole(Invalid):
    """The key would be allowed more than whoever makes it."""

    code = "key_beyond_role"


class WrongCredentials(DomainError):
    """The address, the password or the code is wrong; which one is not said."""

    status = HTTPStatus.UNAUTHORIZED
    code = "wrong_credentials"


class CodeRequired(DomainError):
    """The password is right; the second factor is missing."""

    status = HTTPStatus.UNAUTHORIZED
    code = "code_required"


class EmailUnverified(DomainError):
    """The address was never confirmed."""

    status = HTTPStatus.FORBIDDEN
    code = "email_unverified"


@dataclass(frozen=True, slots=True)
class Token:
    """A key made by logging in, with its secret, which is known only now."""

    key: ApiKey
    secret: str
    place: Place


def sign_up(
    *,
    email: str,
    password: str,
    now: datetime,
    name: str = "",
    tenant_name: str = "",
    email_is_verified: bool = False,
) -> tuple[User, Tenant]:
    """Create a user with a tenant of their own, all or nothing.

    Raises:
        EmailTaken: there is a user with this address.
        WeakPassword: the password is too short, too common or like the address.
    """
    user = User(email=User.objects.normalize_email(email).lower(), name=name)
    if User.objects.filter(email=user.email).exists():
        raise EmailTaken(f"{user.email} has an account already.")
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise WeakPassword(" ".join(error.messages)) from error
    user.set_password(password)
    tenant_id = uuid7()
    with acting_for(tenant_id):
        tenant = found_tenant(user=user, tenant_id=tenant_id, name=tenant_name, now=now)
        EmailAddress.objects.create(
            user=user, email=user.email, primary=True, verified=email_is_verified
        )
    return user, tenant


def found_tenant(*, user: User, now: datetime, tenant_id: UUID, name: str = "") -> Tenant:
    """Save a new user together with the tenant they own; inside ``acting_for(tenant_id)``."""
    user.save()
    tenant = Tenant.objects.create(
        id=tenant_id, name=name or user.name or user.email.partition("@")[0], created_at=now
    )
    Membership.objects.create(user=user, role=Membership.Role.OWNER, created_at=now)
    audit.record(
        action="user.signed_up",
        subject="user",
        subject_id=user.pk,
        by=Actor(user.pk),
        at=now,
    )
    return tenant


def update_profile(*, user: User, name: str, time_zone: str, by: Actor, now: datetime) -> User:
    """Change how a user is called and in which zone they see times."""
    user.name, user.time_zone = name, time_zone
    user.save(update_fields=["name", "time_zone"])
    audit.record(action="user.changed", subject="user", subject_id=user.pk, by=by, at=now)
    return user


def add_member(*, email: str, role: str, by: Actor, now: datetime) -> Membership:
    """Let a user who has signed up into the current tenant.

    Raises:
        NoSuchUser: nobody has confirmed this address: whoever merely typed it gets in nowhere.
        AlreadyMember: they are in.
    """
    verified = EmailAddress.objects.filter(email=email.strip().lower(), verified=True)
    address = verified.select_related("user").first()
    if address is None or not address.user.is_active:
        raise NoSuchUser(
            f"Nobody has signed up and confirmed the address {email}.",
            hint="Ask them to sign up first, then add them.",
        )
    _lock_tenant()
    if Membership.objects.filter(user=address.user).exists():
        raise AlreadyMember(f"{email} is a member already.")
    membership = Membership.objects.create(user=address.user, role=role, created_at=now)
    _record_membership("member.added", membership, by=by, now=now, role=role)
    return membership


def change_role(*, membership_id: UUID, role: str, by: Actor, now: datetime) -> Membership:
    """Give a member another role; what their keys may do follows at once.

    Raises:
        NotFound: no such member here.
        LastOwner: the only owner would stop being one.
    """
    _lock_tenant()
    membership = _membership(membership_id)
    if membership.role == role:
        return membership
    _keep_an_owner(membership, "give another member the role of owner first")
    before, membership.role = membership.role, role
    membership.save(update_fields=["role"])
    _record_membership("member.role_changed", membership, by=by, now=now, role=role, before=before)
    return membership


def remove_member(*, membership_id: UUID, by: Actor, now: datetime) -> None:
    """Put a member out, and revoke their keys, which would otherwise return with them.

    Raises:
        NotFound: no such member here.
        LastOwner: they are the only owner.
    """
    _lock_tenant()
    membership = _membership(membership_id)
    _keep_an_owner(membership, "make another member an owner first")
    ApiKey.objects.filter(user_id=membership.user_id, revoked_at=None).update(revoked_at=now)
    _record_membership("member.removed", membership, by=by, now=now, role=membership.role)
    membership.delete()


def create_api_key(
    *,
    user: User,
    name: str,
    scopes: Collection[str],
    expires_at: datetime | None,
    now: datetime,
    by: Actor | None = None,
    within: Collection[str] | None = None,
) -> tuple[ApiKey, str]:
    """Make a key for a member of the current tenant; its secret is returned this once.

    Args:
        within: what whoever asks may do themselves; by default all that the user's role allows.

    Raises:
        NotFound: the user is not a member here.
        KeyBeyondRole: ``scopes`` are more than the user's role or ``within`` allow.
        Invalid: ``expires_at`` has passed, or no scope is named.
    """
    membership = Membership.objects.filter(user=user).first()
    if membership is None:
        raise NotFound("The user is not a member here.")
    allowed = SCOPES_OF_ROLE[membership.role]
    if within is not None:
        allowed &= set(within)
    if beyond := set(scopes) - allowed:
        raise KeyBeyondRole(
            f"A key of yours cannot have the scope {', '.join(sorted(beyond))}.",
            hint=f"You may give: {', '.join(sorted(allowed))}.",
        )
    if not scopes:
        raise Invalid("A key needs at least one scope.")
    if expires_at is not None and expires_at <= now:
        raise Invalid("The key would have expired already.")
    secret = f"pl_{secrets.token_urlsafe(SECRET_BYTES)}"
    key = ApiKey.objects.create(
        user=user,
        name=name,
        prefix=secret[:PREFIX_CHARACTERS],
        digest=digest(secret),
        scopes=[scope for scope in Scope.values if scope in scopes],
        created_at=now,
        expires_at=expires_at,
    )
    _record_key("api_key.created", key, by=by or Actor(user.pk), now=now)
    return key, secret


def revoke_api_key(
    *, key_id: UUID, by: Actor, now: datetime, only_of: User | None = None
) -> ApiKey:
    """Make a key open nothing from now on; revoking it again changes nothing.

    Args:
        only_of: whose key it must be; anyone's by default.

    Raises:
        NotFound: no such key here.
    """
    mine = ApiKey.objects.filter(user=only_of) if only_of else ApiKey.objects.all()
    key = mine.select_for_update().filter(pk=key_id).first()
    if key is None:
        raise NotFound("There is no such API key here.")
    if key.revoked_at is None:
        key.revoked_at = now
        key.save(update_fields=["revoked_at"])
        _record_key("api_key.revoked", key, by=by, now=now)
    return key


def log_in_for_token(
    *,
    email: str,
    password: str,
    code: str,
    device: str,
    address: str,
    now: datetime,
    tenant_id: UUID | None = None,
) -> Token:
    """Log a program in: a key of 90 days with all that the user's role allows.

    Args:
        code: of the authenticator app, or one of the recovery codes; empty without either.
        device: how the key is called in the list of keys.
        address: the client's network address, for counting attempts.
        tenant_id: which of the user's tenants; their first by default.

    Raises:
        TooManyAttempts, LogInUnavailable: it cannot be tried now.
        WrongCredentials, CodeRequired, EmailUnverified: it was tried, and refused.
        NotFound: the user is not a member of that tenant, or of any.
    """
    email = email.strip().lower()
    attempts.count(email=email, address=address)
    user = _proven(email, password, code)
    attempts.forget(email=email, address=address)
    places = [place for place in places_of(user) if tenant_id in {None, place.tenant_id}]
    if not places:
        raise NotFound("You are not a member there.")
    place = places[0]
    with acting_for(place.tenant_id):
        key, secret = create_api_key(
            user=user,
            name=device,
            scopes=SCOPES_OF_ROLE[place.role],
            expires_at=now + TOKEN_LIFETIME,
            now=now,
        )
        audit.record(
            action="user.logged_in",
            subject="api_key",
            subject_id=key.pk,
            by=Actor(user.pk, key.pk),
            at=now,
            detail={"address": address},
        )
    return Token(key, secret, place)


def _proven(email: str, password: str, code: str) -> User:
    user = User.objects.filter(email=email, is_active=True).first()
    if user is None:
        # As slow as a wrong password: the time must not tell who has an account.
        make_password(password)
        raise WrongCredentials("The address or the password is wrong.")
    if not user.check_password(password):
        raise WrongCredentials("The address or the password is wrong.")
    if not EmailAddress.objects.filter(user=user, email=user.email, verified=True).exists():
        raise EmailUnverified(
            "This address was not confirmed yet.", hint="Follow the link in the mail we sent."
        )
    _check_second_factor(user, code)
    return user


def _check_second_factor(user: User, code: str) -> None:
    factors = list(Authenticator.objects.filter(user=user))
    if not factors:
        return
    if not code:
        raise CodeRequired("Give the code of your authenticator app as well.")
    with attempts.counted():
        # A code is marked as used in Redis: seen once over a shoulder, it opens nothing.
        is_right = any(factor.wrap().validate_code(code) for factor in factors)
    if not is_right:
        raise WrongCredentials("The code is wrong.")


def _lock_tenant() -> None:
    # Two owners who demote each other at the same time would leave none. Not FOR UPDATE, which
    # would hold up every insert of the tenant: they all refer to this row.
    # The policy shows no other row than the current tenant's.
    Tenant.objects.select_for_update(no_key=True).get()


def _membership(membership_id: UUID) -> Membership:
    membership = Membership.objects.select_related("user").filter(pk=membership_id).first()
    if membership is None:
        raise NotFound("There is no such member here.")
    return membership


def _keep_an_owner(membership: Membership, way_out: str) -> None:
    owners = Membership.objects.filter(role=Membership.Role.OWNER)
    if membership.role == Membership.Role.OWNER and not owners.exclude(pk=membership.pk).exists():
        raise LastOwner("This is the only owner.", hint=f"{way_out.capitalize()}.")


def _record_membership(
    action: str, membership: Membership, *, by: Actor, now: datetime, **detail: str
) -> None:
    audit.record(
        action=action,
        subject="member",
        subject_id=membership.pk,
        by=by,
        at=now,
        detail={"user": membership.user_id, **detail},
    )


def _record_key(action: str, key: ApiKey, *, by: Actor, now: datetime) -> None:
    audit.record(
        action=action,
        subject="api_key",
        subject_id=key.pk,
        by=by,
        at=now,
        detail={"name": key.name, "prefix": key.prefix, "scopes": list(key.scopes)},
    )
