"""What the settings pages and the API list of this room."""

from django.db.models import QuerySet

from apps.accounts.identity import Identity
from apps.accounts.models import ApiKey, AuditEvent, Membership, Scope


def keys_seen_by(identity: Identity) -> QuerySet[ApiKey]:
    """One's own keys, newest first; all of the tenant's for who may manage."""
    keys: QuerySet[ApiKey] = ApiKey.objects.select_related("user").order_by("-id")
    return keys if identity.may(Scope.MANAGE) else keys.filter(user=identity.user)


def members() -> QuerySet[Membership]:
    rows: QuerySet[Membership] = Membership.objects.select_related("user").order_by("id")
    return rows


def audit_events() -> QuerySet[AuditEvent]:
    rows: QuerySet[AuditEvent] = AuditEvent.objects.select_related("user", "api_key")
    return rows.order_by("-sequence")
