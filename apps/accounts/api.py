"""The API of this room: logging in, who am I, keys, members, the audit log."""

from typing import Any, ClassVar
from uuid import UUID

from allauth.account.adapter import get_adapter
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import AllowAny, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts import identity, selectors, services
from apps.accounts.authentication import HasScope, IdentityAuthentication
from apps.accounts.identity import Identity, MissingScope
from apps.accounts.models import ApiKey, AuditEvent, Membership, Scope
from apps.accounts.services import Token
from apps.core.errors import NotFound
from apps.core.idempotency import IdempotentMixin
from apps.core.paging import CursorPagination

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Repeat a request with the same key to get the first answer again.",
)


def asking(request: Request) -> Identity:
    """The identity that IdentityAuthentication put on the request."""
    found = request.auth
    if not isinstance(found, Identity):
        raise TypeError("the view lets requests in without an identity")
    return found


class PlaceOut(serializers.Serializer[identity.Place]):
    id = serializers.UUIDField(source="tenant_id")
    name = serializers.CharField(source="tenant_name")
    role = serializers.ChoiceField(choices=Membership.Role.choices)


class UserOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    email = serializers.EmailField()
    name = serializers.CharField()
    time_zone = serializers.CharField()


class MeOut(serializers.Serializer[Identity]):
    user = UserOut()
    tenant = serializers.SerializerMethodField()
    role = serializers.ChoiceField(choices=Membership.Role.choices)
    scopes = serializers.SerializerMethodField()
    via = serializers.ChoiceField(choices=["session", "key"])
    tenants = serializers.SerializerMethodField(
        help_text="All tenants one may switch to; for a key only its own."
    )

    @extend_schema(responses=PlaceOut)
    def get_tenant(self, found: Identity) -> dict[str, Any]:
        return dict(PlaceOut(_here(found)).data)

    def get_scopes(self, found: Identity) -> list[str]:
        return [scope for scope in Scope.values if found.may(scope)]

    def get_tenants(self, found: Identity) -> list[dict[str, Any]]:
        # A key belongs to one tenant, and tells nothing of its user's others.
        places = identity.places_of(found.user) if found.via == "session" else [_here(found)]
        return [dict(PlaceOut(place).data) for place in places]


class LogIn(serializers.Serializer[Any]):
    email = serializers.EmailField()
    password = serializers.CharField(trim_whitespace=False, max_length=256)
    code = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=32, help_text="Second factor."
    )
    device = serializers.CharField(required=False, default="Mobile client", max_length=80)
    tenant_id = serializers.UUIDField(required=False, default=None, allow_null=True)


class KeyOut(serializers.ModelSerializer[ApiKey]):
    user = serializers.EmailField(source="user.email", read_only=True)

    class Meta:
        model = ApiKey
        fields: ClassVar[list[str]] = [
            "id",
            "user",
            "name",
            "prefix",
            "scopes",
            "created_at",
            "last_used_at",
            "expires_at",
            "revoked_at",
        ]


class KeyIn(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=Scope.choices), allow_empty=False
    )
    expires_at = serializers.DateTimeField(required=False, default=None, allow_null=True)


class KeyMade(KeyOut):
    secret = serializers.CharField(
        allow_null=True,
        help_text=(
            "The key itself, shown this once. It is not stored: where the answer is repeated "
            "for the same Idempotency-Key this is null; if it was lost, revoke the key and "
            "make another."
        ),
    )

    class Meta(KeyOut.Meta):
        fields: ClassVar[list[str]] = [*KeyOut.Meta.fields, "secret"]


class TokenOut(serializers.Serializer[Token]):
    token = serializers.CharField(source="secret")
    key = KeyOut()
    tenant = PlaceOut(source="place")


class MemberOut(serializers.ModelSerializer[Membership]):
    email = serializers.EmailField(source="user.email", read_only=True)
    name = serializers.CharField(source="user.name", read_only=True)

    class Meta:
        model = Membership
        fields: ClassVar[list[str]] = ["id", "email", "name", "role", "created_at"]


class RoleIn(serializers.Serializer[Any]):
    role = serializers.ChoiceField(choices=Membership.Role.choices)


class MemberIn(RoleIn):
    email = serializers.EmailField()


class SwitchIn(serializers.Serializer[Any]):
    tenant_id = serializers.UUIDField()


class AuditOut(serializers.ModelSerializer[AuditEvent]):
    user = serializers.EmailField(source="user.email", default=None, allow_null=True)
    api_key = serializers.CharField(source="api_key.prefix", default=None, allow_null=True)

    class Meta:
        model = AuditEvent
        fields: ClassVar[list[str]] = [
            "sequence",
            "at",
            "user",
            "api_key",
            "action",
            "subject",
            "subject_id",
            "detail",
            "previous_hash",
            "hash",
        ]


class TokenView(APIView):
    """Log in for a key of 90 days; log out by revoking the one in use."""

    required_scope = Scope.READ

    def get_authenticators(self) -> list[BaseAuthentication]:
        return [] if self._is_logging_in() else [IdentityAuthentication()]

    def get_permissions(self) -> list[BasePermission]:
        return [AllowAny()] if self._is_logging_in() else [HasScope()]

    @extend_schema(operation_id="auth_token_create", request=LogIn, responses={201: TokenOut})
    def post(self, request: Request) -> Response:
        """Log in."""
        given = checked(LogIn(data=request.data))
        token = services.log_in_for_token(
            **given, address=get_adapter().get_client_ip(request._request), now=timezone.now()
        )
        return Response(
            TokenOut(token).data,
            status=status.HTTP_201_CREATED,
            headers={"Cache-Control": "no-store"},
        )

    @extend_schema(operation_id="auth_token_revoke", request=None, responses={204: None})
    def delete(self, request: Request) -> Response:
        """Revoke the key that this request carries."""
        found = asking(request)
        if found.key_id is None:
            raise NotFound("This request carries no API key.", hint="Log out on the page instead.")
        services.revoke_api_key(key_id=found.key_id, by=found.actor, now=timezone.now())
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _is_logging_in(self) -> bool:
        # Without a request while the schema is written.
        return getattr(getattr(self, "request", None), "method", None) == "POST"


class Me(APIView):
    @extend_schema(operation_id="me", responses=MeOut)
    def get(self, request: Request) -> Response:
        """Say who is asking, for which tenant, and what they may do."""
        return Response(MeOut(asking(request)).data)


class Switch(APIView):
    required_scope = Scope.READ

    @extend_schema(operation_id="tenants_switch", request=SwitchIn, responses=MeOut)
    def post(self, request: Request) -> Response:
        """Continue this session in another of the user's tenants."""
        found = asking(request)
        tenant_id = checked(SwitchIn(data=request.data))["tenant_id"]
        if found.via != "session":
            raise MissingScope("A key belongs to one tenant.", hint="Use a key of the other one.")
        switched = identity.of_session(found.user, chosen=tenant_id)
        if switched is None or switched.tenant_id != tenant_id:
            raise NotFound("You are not a member there.")
        identity.choose_in(request._request.session, tenant_id)
        return Response(MeOut(switched).data)


class Keys(IdempotentMixin, generics.ListAPIView[ApiKey]):
    """One's own API keys; those of all members for who may manage."""

    # Every member may have keys: what a key may do is bounded by its user's role anyway.
    required_scope = Scope.READ
    serializer_class = KeyOut
    shown_once = ("secret",)

    def get_queryset(self) -> QuerySet[ApiKey]:
        return selectors.keys_seen_by(asking(self.request))

    @extend_schema(
        operation_id="keys_create",
        request=KeyIn,
        responses={201: KeyMade},
        parameters=[IDEMPOTENCY_KEY],
    )
    def post(self, request: Request) -> Response:
        """Make a key; its secret is in this answer and nowhere else."""
        found = asking(request)
        given = checked(KeyIn(data=request.data))
        forbid_keys_making_keys(found)
        key, secret = services.create_api_key(
            user=found.user, **given, now=timezone.now(), by=found.actor, within=found.scopes
        )
        return Response(
            {**KeyOut(key).data, "secret": secret},
            status=status.HTTP_201_CREATED,
            headers={"Cache-Control": "no-store"},
        )


class Key(APIView):
    required_scope = Scope.READ

    @extend_schema(operation_id="keys_revoke", request=None, responses={204: None})
    def delete(self, request: Request, key_id: UUID) -> Response:
        """Revoke a key for good."""
        found = asking(request)
        if found.key_id != key_id:
            forbid_keys_making_keys(found)
        services.revoke_api_key(
            key_id=key_id,
            by=found.actor,
            now=timezone.now(),
            only_of=None if found.may(Scope.MANAGE) else found.user,
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class Members(IdempotentMixin, generics.ListAPIView[Membership]):
    required_scope: ClassVar[dict[str, str]] = {"POST": Scope.MANAGE}
    serializer_class = MemberOut

    def get_queryset(self) -> QuerySet[Membership]:
        return selectors.members()

    @extend_schema(
        operation_id="members_create",
        request=MemberIn,
        responses={201: MemberOut},
        parameters=[IDEMPOTENCY_KEY],
    )
    def post(self, request: Request) -> Response:
        """Let somebody who has signed up into the tenant."""
        member = services.add_member(
            **checked(MemberIn(data=request.data)), by=asking(request).actor, now=timezone.now()
        )
        return Response(MemberOut(member).data, status=status.HTTP_201_CREATED)


class Member(APIView):
    required_scope = Scope.MANAGE

    @extend_schema(operation_id="members_update", request=RoleIn, responses=MemberOut)
    def patch(self, request: Request, member_id: UUID) -> Response:
        """Give a member another role."""
        member = services.change_role(
            membership_id=member_id,
            **checked(RoleIn(data=request.data)),
            by=asking(request).actor,
            now=timezone.now(),
        )
        return Response(MemberOut(member).data)

    @extend_schema(
        operation_id="members_remove",
        request=None,
        responses={204: OpenApiResponse(description="They are out, their keys are revoked.")},
    )
    def delete(self, request: Request, member_id: UUID) -> Response:
        """Put a member out."""
        services.remove_member(
            membership_id=member_id, by=asking(request).actor, now=timezone.now()
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class BySequence(CursorPagination):
    ordering = "-sequence"


class Audit(generics.ListAPIView[AuditEvent]):
    """The audit log, newest first."""

    required_scope = Scope.MANAGE
    serializer_class = AuditOut
    pagination_class = BySequence

    def get_queryset(self) -> QuerySet[AuditEvent]:
        return selectors.audit_events()


def checked(serializer: serializers.Serializer[Any]) -> dict[str, Any]:
    """The serializer's values, or a refusal that names the fields."""
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def forbid_keys_making_keys(found: Identity) -> None:
    """Ask a key for manage: one that leaked must not make others that outlive it."""
    if found.via == "key":
        found.require(Scope.MANAGE)


def _here(found: Identity) -> identity.Place:
    return identity.Place(found.tenant_id, found.tenant_name, found.role)
