"""The API of this room: endpoints, what was delivered to them, alerts and their replay."""

import base64
import binascii
from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    extend_schema,
    extend_schema_field,
    inline_serializer,
)
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.audit import Actor
from apps.accounts.identity import Identity
from apps.accounts.models import Scope
from apps.core.errors import Invalid, NotFound
from apps.core.idempotency import IdempotentMixin
from apps.core.paging import CursorPagination
from apps.webhooks import selectors, services
from apps.webhooks.models import Alert, Endpoint
from apps.webhooks.selectors import Delivery

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Repeat a request with the same key to get the first answer again.",
)
PAGE = [
    OpenApiParameter("limit", int, description="1 to 500 lines; 50 when it is not given."),
    OpenApiParameter("cursor", str, description="next_cursor of the page before."),
]
PRIVATE = {"Cache-Control": "no-store"}


class InvalidCursor(Invalid):
    """The cursor is not one that was given out."""

    code = "cursor_invalid"


class EndpointOut(serializers.ModelSerializer[Endpoint]):
    class Meta:
        model = Endpoint
        fields: ClassVar[list[str]] = [
            "id",
            "name",
            "token_hint",
            "previous_token_until",
            "max_age_s",
            "is_paused",
            "created_at",
        ]


class EndpointIn(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80)
    max_age_s = serializers.IntegerField(
        required=False,
        default=60,
        min_value=services.SHORTEST_AGE_S,
        max_value=services.LONGEST_AGE_S,
        help_text="Seconds after which an alert never increases exposure.",
    )


class EndpointChange(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80, required=False)
    max_age_s = serializers.IntegerField(
        required=False, min_value=services.SHORTEST_AGE_S, max_value=services.LONGEST_AGE_S
    )


class RotationIn(serializers.Serializer[Any]):
    overlap_s = serializers.IntegerField(
        required=False,
        default=int(services.OVERLAP.total_seconds()),
        min_value=0,
        max_value=int(services.LONGEST_OVERLAP.total_seconds()),
        help_text="Seconds for which the old address goes on working.",
    )


class EndpointMade(EndpointOut):
    token = serializers.CharField(allow_null=True, help_text="Shown this once; it is not stored.")
    url = serializers.CharField(allow_null=True, help_text="The webhook URL for TradingView.")

    class Meta(EndpointOut.Meta):
        fields: ClassVar[list[str]] = [*EndpointOut.Meta.fields, "token", "url"]


class DeliveryOut(serializers.Serializer[Delivery]):
    id = serializers.UUIDField()
    at = serializers.DateTimeField()
    endpoint_id = serializers.UUIDField()
    endpoint_name = serializers.CharField()
    outcome = serializers.ChoiceField(choices=["stored", "decided", "refused"])
    status = serializers.IntegerField(help_text="The HTTP status that the sender saw.")
    message_code = serializers.CharField()
    explanation = serializers.CharField()
    hint = serializers.CharField()
    count = serializers.IntegerField(help_text="How often it arrived.")
    preview = serializers.CharField()
    source_ip = serializers.CharField(allow_null=True)
    replay_of_id = serializers.UUIDField(allow_null=True)


class Pagination(serializers.Serializer[Any]):
    limit = serializers.IntegerField()
    has_more = serializers.BooleanField()
    next_cursor = serializers.CharField(allow_null=True)


DELIVERY_PAGE = inline_serializer(
    "DeliveryPage",
    {"data": DeliveryOut(many=True), "pagination": Pagination()},
)


class AlertOut(serializers.ModelSerializer[Alert]):
    endpoint_name = serializers.CharField(source="endpoint.name", read_only=True)
    repeats = serializers.IntegerField(read_only=True)
    last_repeat_at = serializers.DateTimeField(read_only=True, allow_null=True)
    explanation = serializers.SerializerMethodField()
    hint = serializers.SerializerMethodField()
    preview = serializers.SerializerMethodField()

    class Meta:
        model = Alert
        fields: ClassVar[list[str]] = [
            "id",
            "endpoint_id",
            "endpoint_name",
            "received_at",
            "content_type",
            "source_ip",
            "status",
            "message_code",
            "explanation",
            "hint",
            "decided_at",
            "repeats",
            "last_repeat_at",
            "replay_of_id",
            "preview",
        ]

    def get_explanation(self, alert: Alert) -> str:
        return selectors.explained(alert.message_code)[0]

    def get_hint(self, alert: Alert) -> str:
        return selectors.explained(alert.message_code)[1]

    def get_preview(self, alert: Alert) -> str:
        return selectors.preview(bytes(alert.body))


class AlertWhole(AlertOut):
    body = serializers.SerializerMethodField(
        help_text="As text; bytes that are not UTF-8 are shown as U+FFFD."
    )
    body_base64 = serializers.SerializerMethodField(help_text="Every byte as it was received.")

    class Meta(AlertOut.Meta):
        fields: ClassVar[list[str]] = [*AlertOut.Meta.fields, "body", "body_base64"]

    def get_body(self, alert: Alert) -> str:
        return bytes(alert.body).decode("utf-8", "replace")

    @extend_schema_field(OpenApiTypes.BYTE)
    def get_body_base64(self, alert: Alert) -> str:
        return base64.b64encode(bytes(alert.body)).decode()


class Endpoints(IdempotentMixin, generics.ListAPIView[Endpoint]):
    """The tenant's webhook endpoints, newest first."""

    required_scope: ClassVar[dict[str, str]] = {"GET": Scope.READ, "POST": Scope.MANAGE}
    serializer_class = EndpointOut
    shown_once = ("token", "url")

    def get_queryset(self) -> QuerySet[Endpoint]:
        return selectors.endpoints()

    @extend_schema(
        operation_id="endpoints_create",
        request=EndpointIn,
        responses={201: EndpointMade},
        parameters=[IDEMPOTENCY_KEY],
    )
    def post(self, request: Request) -> Response:
        """Make an address to send alerts to; its token is in this answer and nowhere else."""
        endpoint, token = services.create_endpoint(
            **checked(EndpointIn(data=request.data)), now=timezone.now(), by=actor(request)
        )
        answer = {**EndpointOut(endpoint).data, **address(token)}
        return Response(answer, status=status.HTTP_201_CREATED, headers=PRIVATE)


class OneEndpoint(APIView):
    required_scope: ClassVar[dict[str, str]] = {
        "GET": Scope.READ,
        "PATCH": Scope.MANAGE,
        "DELETE": Scope.MANAGE,
    }

    @extend_schema(operation_id="endpoints_retrieve", responses=EndpointOut)
    def get(self, request: Request, endpoint_id: UUID) -> Response:
        """One endpoint."""
        return Response(EndpointOut(known(endpoint_id)).data)

    @extend_schema(operation_id="endpoints_update", request=EndpointChange, responses=EndpointOut)
    def patch(self, request: Request, endpoint_id: UUID) -> Response:
        """Change the name or the greatest age of an alert."""
        endpoint = services.change_endpoint(
            endpoint_id=endpoint_id,
            **checked(EndpointChange(data=request.data)),
            now=timezone.now(),
            by=actor(request),
        )
        return Response(EndpointOut(endpoint).data)

    @extend_schema(operation_id="endpoints_delete", request=None, responses={204: None})
    def delete(self, request: Request, endpoint_id: UUID) -> Response:
        """Take the address out of use at once; its alerts stay."""
        services.delete_endpoint(endpoint_id=endpoint_id, now=timezone.now(), by=actor(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class Rotate(IdempotentMixin):
    required_scope = Scope.MANAGE
    shown_once = ("token", "url")

    @extend_schema(
        operation_id="endpoints_rotate",
        request=RotationIn,
        responses=EndpointMade,
        parameters=[IDEMPOTENCY_KEY],
    )
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Get a new address; the old one goes on working until the overlap ends."""
        overlap_s = checked(RotationIn(data=request.data))["overlap_s"]
        token = services.rotate_endpoint(
            endpoint_id=endpoint_id,
            overlap=timedelta(seconds=overlap_s),
            now=timezone.now(),
            by=actor(request),
        )
        answer = {**EndpointOut(known(endpoint_id)).data, **address(token)}
        return Response(answer, headers=PRIVATE)


class Pause(APIView):
    required_scope = Scope.MANAGE

    @extend_schema(operation_id="endpoints_pause", request=None, responses=EndpointOut)
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Stop trading on this endpoint's alerts; they are still stored and shown."""
        endpoint = services.pause_endpoint(
            endpoint_id=endpoint_id, now=timezone.now(), by=actor(request)
        )
        return Response(EndpointOut(endpoint).data)


class Resume(APIView):
    required_scope = Scope.MANAGE

    @extend_schema(operation_id="endpoints_resume", request=None, responses=EndpointOut)
    def post(self, request: Request, endpoint_id: UUID) -> Response:
        """Trade on this endpoint's alerts again, from the next one on."""
        endpoint = services.resume_endpoint(
            endpoint_id=endpoint_id, now=timezone.now(), by=actor(request)
        )
        return Response(EndpointOut(endpoint).data)


class Deliveries(APIView):
    required_scope = Scope.READ

    @extend_schema(operation_id="endpoints_deliveries", responses=DELIVERY_PAGE, parameters=PAGE)
    def get(self, request: Request, endpoint_id: UUID) -> Response:
        """What arrived here, and what was refused and why, newest first."""
        endpoint = known(endpoint_id)
        limit = size_of_page(request)
        lines = selectors.deliveries(
            endpoint_id=endpoint.pk, before=place_of(request), limit=limit + 1
        )
        shown, has_more = lines[:limit], len(lines) > limit
        page = {
            "limit": limit,
            "has_more": has_more,
            "next_cursor": cursor_after(shown[-1]) if has_more else None,
        }
        data = [DeliveryOut(line).data for line in shown]
        return Response({"data": data, "pagination": page})


class Alerts(generics.ListAPIView[Alert]):
    """Alerts of all endpoints, newest first."""

    required_scope = Scope.READ
    serializer_class = AlertOut

    def get_queryset(self) -> QuerySet[Alert]:
        return selectors.alerts()


class OneAlert(APIView):
    required_scope = Scope.READ

    @extend_schema(operation_id="alerts_retrieve", responses=AlertWhole)
    def get(self, request: Request, alert_id: UUID) -> Response:
        """One alert with its body."""
        return Response(AlertWhole(found(alert_id)).data)


class Replay(IdempotentMixin):
    required_scope = Scope.TRADE

    @extend_schema(
        operation_id="alerts_replay",
        request=None,
        responses={202: AlertOut},
        parameters=[IDEMPOTENCY_KEY],
    )
    def post(self, request: Request, alert_id: UUID) -> Response:
        """Have the alert read again, as a new one; the answer is that one, still waiting."""
        alert = services.replay_alert(alert_id=alert_id, now=timezone.now(), by=actor(request))
        return Response(AlertOut(found(alert.pk)).data, status=status.HTTP_202_ACCEPTED)


def known(endpoint_id: UUID) -> Endpoint:
    endpoint = selectors.endpoints().filter(pk=endpoint_id).first()
    if endpoint is None:
        raise NotFound("There is no such webhook.")
    return endpoint


def found(alert_id: UUID) -> Alert:
    alert = selectors.alerts().filter(pk=alert_id).first()
    if alert is None:
        raise NotFound("There is no such alert.")
    return alert


def address(token: str) -> dict[str, str]:
    return {"token": token, "url": selectors.intake_url(token)}


def actor(request: Request) -> Actor:
    identity = request.auth
    if not isinstance(identity, Identity):
        raise TypeError("the view lets requests in without an identity")
    return identity.actor


def checked(serializer: serializers.Serializer[Any]) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def size_of_page(request: Request) -> int:
    return CursorPagination().get_page_size(request) or CursorPagination.page_size


def cursor_after(line: Delivery) -> str:
    return base64.urlsafe_b64encode(f"{line.at.isoformat()} {line.id}".encode()).decode()


def place_of(request: Request) -> tuple[datetime, UUID] | None:
    """Where the page begins, from its cursor.

    Raises:
        InvalidCursor: it is not one that was given out.
    """
    given = request.query_params.get("cursor")
    if not given:
        return None
    try:
        at, line_id = base64.urlsafe_b64decode(given.encode()).decode().split(" ")
        place = datetime.fromisoformat(at), UUID(line_id)
    except (ValueError, binascii.Error) as error:
        raise InvalidCursor("This cursor was not given out here.") from error
    if place[0].tzinfo is None:
        raise InvalidCursor("This cursor was not given out here.")
    return place
