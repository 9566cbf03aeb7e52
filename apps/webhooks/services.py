"""What can be done to endpoints and their alerts; whoever holds an address may send to it."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import connections

from apps.accounts import audit
from apps.accounts.audit import SERVICE, Actor
from apps.core import events
from apps.core.errors import DomainError, Invalid, NotFound
from apps.core.tenancy import acting_across
from apps.webhooks.models import Alert, Endpoint, RecentBody

TOKEN_BYTES: Final = 32
HINT_CHARACTERS: Final = 4
OVERLAP: Final = timedelta(hours=24)
LONGEST_OVERLAP: Final = timedelta(days=30)
SHORTEST_AGE_S: Final = 5
LONGEST_AGE_S: Final = 86_400
# Wakes the pipeline, like the intake does.
CHANNEL: Final = "pinelab_alerts"


class InvalidEndpoint(Invalid):
    """The endpoint's name or its greatest age of an alert is not possible."""

    code = "endpoint_invalid"


class InvalidOverlap(Invalid):
    """The old address cannot work for that long after a rotation."""

    code = "overlap_invalid"


class EndpointDeleted(DomainError):
    """The endpoint is gone; its alerts are kept to be read, not to be traded."""

    code = "endpoint_deleted"


class AlertWaiting(DomainError):
    """The alert was not decided yet; there is nothing to do again."""

    code = "alert_waiting"


def create_endpoint(
    *, name: str, max_age_s: int = 60, now: datetime, by: Actor = SERVICE
) -> tuple[Endpoint, str]:
    """Make an address; its token is returned this once and stored as a hash.

    Args:
        max_age_s: seconds after which an alert never increases exposure.

    Raises:
        InvalidEndpoint: the name is empty or too long, or the age out of its range.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    endpoint = Endpoint(
        token_digest=digest(token), token_hint=token[-HINT_CHARACTERS:], created_at=now
    )
    describe(endpoint, name=name, max_age_s=max_age_s)
    endpoint.save(force_insert=True)
    tell(endpoint, "created", f"Webhook {endpoint.name} was created.", by=by, now=now)
    return endpoint, token


def change_endpoint(
    *,
    endpoint_id: UUID,
    name: str | None = None,
    max_age_s: int | None = None,
    now: datetime,
    by: Actor = SERVICE,
) -> Endpoint:
    """Give an endpoint another name or another greatest age; what is None stays.

    Raises:
        NotFound: there is no such endpoint, or it was deleted.
        InvalidEndpoint: the name is empty or too long, or the age out of its range.
    """
    endpoint = locked(endpoint_id)
    describe(
        endpoint,
        name=endpoint.name if name is None else name,
        max_age_s=endpoint.max_age_s if max_age_s is None else max_age_s,
    )
    endpoint.save(update_fields=["name", "max_age_s"])
    tell(endpoint, "changed", f"Webhook {endpoint.name} was changed.", by=by, now=now)
    return endpoint


def rotate_endpoint(
    *, endpoint_id: UUID, overlap: timedelta = OVERLAP, now: datetime, by: Actor = SERVICE
) -> str:
    """Give an endpoint a new token; the old one works until the overlap ends.

    The token before the old one dies at once: at any time at most two are good.

    Raises:
        NotFound: there is no such endpoint, or it was deleted.
        InvalidOverlap: it is negative or longer than thirty days.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise InvalidOverlap("The old address can go on for up to 30 days.")
    endpoint = locked(endpoint_id)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    endpoint.previous_token_digest = endpoint.token_digest
    endpoint.previous_token_until = now + overlap
    endpoint.token_digest = digest(token)
    endpoint.token_hint = token[-HINT_CHARACTERS:]
    endpoint.save(
        update_fields=[
            "previous_token_digest",
            "previous_token_until",
            "token_digest",
            "token_hint",
        ]
    )
    text = f"Webhook {endpoint.name} has a new address."
    tell(endpoint, "rotated", text, by=by, now=now)
    return token


def pause_endpoint(*, endpoint_id: UUID, now: datetime, by: Actor = SERVICE) -> Endpoint:
    """Stop trading on an endpoint's alerts; they are still stored and shown."""
    return _set_paused(endpoint_id, is_paused=True, now=now, by=by)


def resume_endpoint(*, endpoint_id: UUID, now: datetime, by: Actor = SERVICE) -> Endpoint:
    """Trade on an endpoint's alerts again, from the next one on."""
    return _set_paused(endpoint_id, is_paused=False, now=now, by=by)


def delete_endpoint(*, endpoint_id: UUID, now: datetime, by: Actor = SERVICE) -> None:
    """Take an address out of use at once, the old one of a rotation too; its alerts stay.

    Raises:
        NotFound: there is no such endpoint, or it was deleted before.
    """
    endpoint = locked(endpoint_id)
    endpoint.deleted_at = now
    endpoint.previous_token_digest = None
    endpoint.previous_token_until = None
    endpoint.save(update_fields=["deleted_at", "previous_token_digest", "previous_token_until"])
    tell(endpoint, "deleted", f"Webhook {endpoint.name} was deleted.", by=by, now=now)


def replay_alert(*, alert_id: UUID, now: datetime, by: Actor = SERVICE) -> Alert:
    """Have an alert read again, as a new one with the same bytes.

    It does not make the alert younger: one that fired too long ago increases no exposure.

    Raises:
        NotFound: there is no such alert.
        AlertWaiting: it was not decided yet.
        EndpointDeleted: its endpoint is gone.
    """
    alert = Alert.objects.select_related("endpoint").filter(pk=alert_id).first()
    if alert is None:
        raise NotFound("There is no such alert.")
    if alert.status == Alert.Status.STORED:
        raise AlertWaiting("This alert is still waiting to be decided.")
    if alert.endpoint.deleted_at is not None:
        raise EndpointDeleted(f"Webhook {alert.endpoint.name} was deleted.")
    again: Alert = Alert.objects.create(
        endpoint=alert.endpoint,
        body=bytes(alert.body),
        content_type=alert.content_type,
        source_ip=alert.source_ip,
        received_at=now,
        replay_of=alert,
    )
    again.refresh_from_db()
    with connections["default"].cursor() as cursor:
        # Heard when this transaction commits.
        cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])
    payload = {"replay_of": str(alert.pk)}
    events.append(
        kind="alert.replayed",
        subject="alert",
        subject_id=again.pk,
        at=now,
        text=f"An alert of {alert.endpoint.name} was sent to be read again.",
        payload=payload,
    )
    audit.record(
        action="alert.replayed",
        subject="alert",
        subject_id=again.pk,
        by=by,
        at=now,
        detail=payload,
    )
    return again


def forget_recent_bodies(*, before: datetime) -> int:
    """Delete what was kept to recognise resends, of all tenants; returns how many rows.

    Args:
        before: well before the resend window, or a resend becomes an alert.
    """
    with acting_across("webhooks.forget_recent_bodies"):
        return RecentBody.objects.filter(at__lt=before).delete()[0]


def digest(token: str) -> bytes:
    """What is stored of a token: 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode()).digest()


def describe(endpoint: Endpoint, *, name: str, max_age_s: int) -> None:
    name = " ".join(name.split())
    if not 0 < len(name) <= 80:
        raise InvalidEndpoint("A webhook's name has 1 to 80 characters.")
    if not SHORTEST_AGE_S <= max_age_s <= LONGEST_AGE_S:
        raise InvalidEndpoint("An alert's greatest age is 5 to 86400 seconds.")
    endpoint.name = name
    endpoint.max_age_s = max_age_s


def locked(endpoint_id: UUID) -> Endpoint:
    # No key is changed: the intake, which refers to this row, does not wait for us.
    endpoint: Endpoint | None = (
        Endpoint.objects.select_for_update(no_key=True)
        .filter(pk=endpoint_id, deleted_at=None)
        .first()
    )
    if endpoint is None:
        raise NotFound("There is no such webhook.")
    return endpoint


def tell(endpoint: Endpoint, verb: str, text: str, *, by: Actor, now: datetime) -> None:
    kind = f"endpoint.{verb}"
    events.append(
        kind=kind,
        subject="endpoint",
        subject_id=endpoint.pk,
        at=now,
        text=text,
        payload={"name": endpoint.name},
    )
    audit.record(
        action=kind,
        subject="endpoint",
        subject_id=endpoint.pk,
        by=by,
        at=now,
        detail={"name": endpoint.name, "max_age_s": endpoint.max_age_s},
    )


def _set_paused(endpoint_id: UUID, *, is_paused: bool, now: datetime, by: Actor) -> Endpoint:
    endpoint = locked(endpoint_id)
    if endpoint.is_paused == is_paused:
        return endpoint
    endpoint.is_paused = is_paused
    endpoint.save(update_fields=["is_paused"])
    verb = "paused" if is_paused else "resumed"
    tell(endpoint, verb, f"Webhook {endpoint.name} was {verb}.", by=by, now=now)
    return endpoint
