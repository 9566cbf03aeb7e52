"""The API of this room: accounts, deployments, orders, what became of them, the kill switch."""

from typing import Any, ClassVar, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet
from django.utils import timezone
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    inline_serializer,
)
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.audit import Actor
from apps.accounts.identity import Identity
from apps.accounts.models import Scope
from apps.core import events
from apps.core.errors import Invalid, NotFound
from apps.core.idempotency import IdempotentMixin
from apps.marketdata import selectors as market
from apps.trading import representations as show
from apps.trading import selectors, services, switch
from apps.trading.models import BrokerAccount, Deployment, Fill, Order, Position, Trade

M = TypeVar("M", bound=Model)
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Repeat a request with the same key to get the first answer again.",
)
STATUSES = ["open", "closed", "all", *Order.Status.values]


def actor(request: Request) -> Actor:
    found = request.auth
    if not isinstance(found, Identity):
        raise TypeError("a permitted request has an identity")
    return found.actor


def checked(given: serializers.Serializer[Any]) -> dict[str, Any]:
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)


class Listing(GenericAPIView[M]):
    """A list by cursor, newest first."""

    def listed(self, rows: QuerySet[M]) -> Response:
        page: Any = self.paginate_queryset(rows)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


# --- accounts ------------------------------------------------------------------------------------


class Accounts(IdempotentMixin, APIView):
    required_scope: ClassVar[dict[str, str]] = {"POST": Scope.MANAGE}

    @extend_schema(operation_id="accounts_list", responses=show.AccountOut(many=True))
    def get(self, request: Request) -> Response:
        """Accounts by name, each with what it is worth and risks now."""
        found = selectors.summaries(now=timezone.now())
        return Response({"data": show.AccountOut(found, many=True).data})

    @extend_schema(
        operation_id="accounts_create",
        request=show.AccountIn,
        responses={201: show.AccountOut},
        parameters=[IDEMPOTENCY_KEY],
    )
    def post(self, request: Request) -> Response:
        """Open a paper account."""
        account = services.create_paper_account(
            **checked(show.AccountIn(data=request.data)), by=actor(request), now=timezone.now()
        )
        return Response(_account(account.pk), status=201)


class Account(APIView):
    required_scope: ClassVar[dict[str, str]] = {"PATCH": Scope.MANAGE}

    @extend_schema(operation_id="accounts_get", responses=show.AccountOut)
    def get(self, request: Request, account_id: UUID) -> Response:
        """One account."""
        return Response(_account(account_id))

    @extend_schema(
        operation_id="accounts_update", request=show.AccountChange, responses=show.AccountOut
    )
    def patch(self, request: Request, account_id: UUID) -> Response:
        """Rename an account, halt it, or let it trade again."""
        given = checked(show.AccountChange(data=request.data))
        common: dict[str, Any] = {
            "account_id": account_id, "by": actor(request), "now": timezone.now()
        }  # fmt: skip
        if "name" in given:
            services.rename_account(name=given["name"], **common)
        match given.get("state"):
            case "halted":
                services.halt_account(reason=given["reason"], flatten=given["flatten"], **common)
            case "active":
                services.resume_account(**common)
        return Response(_account(account_id))


class Equity(APIView):
    @extend_schema(
        operation_id="accounts_equity",
        parameters=[
            OpenApiParameter("points", int, description="At most so many, 2 to 5000."),
            OpenApiParameter("since", str, description="ISO 8601; the whole life when left out."),
        ],
        responses=show.CurveOut,
    )
    def get(self, request: Request, account_id: UUID) -> Response:
        """The equity curve, thinned so that each stretch keeps its lowest and highest."""
        asked = checked(EquityAsked(data=request.query_params))
        _known_account(account_id)
        curve = selectors.equity_curve(account_id, **asked)
        rows = [{"at": at, "cash": cash, "equity": equity} for at, cash, equity in curve]
        return Response({"data": show.EquityOut(rows, many=True).data})


class EquityAsked(serializers.Serializer[Any]):
    points = serializers.IntegerField(default=500, min_value=2, max_value=5_000)
    since = serializers.DateTimeField(required=False)


class Limits(APIView):
    required_scope: ClassVar[dict[str, str]] = {"PUT": Scope.MANAGE}

    @extend_schema(operation_id="limits_get", responses=show.LimitsOut)
    def get(self, request: Request, account_id: UUID) -> Response:
        """What an account may never exceed."""
        account = _known_account(account_id)
        limits = selectors.limits_of(account_id) or services.usual_limits(account)
        return Response(show.LimitsOut(limits).data)

    @extend_schema(operation_id="limits_update", request=show.LimitsIn, responses=show.LimitsOut)
    def put(self, request: Request, account_id: UUID) -> Response:
        """Change the limits that are named."""
        limits = services.update_limits(
            account_id=account_id,
            limits=checked(show.LimitsIn(data=request.data)),
            by=actor(request),
            now=timezone.now(),
        )
        return Response(show.LimitsOut(limits).data)


class AcceptPositions(IdempotentMixin, APIView):
    required_scope = Scope.MANAGE

    @extend_schema(
        operation_id="accounts_accept_positions",
        request=None,
        responses=show.AccountOut,
        parameters=[IDEMPOTENCY_KEY],
    )
    def post(self, request: Request, account_id: UUID) -> Response:
        """Take over what the broker holds where our books differ."""
        services.accept_venue_position(account_id=account_id, by=actor(request), now=timezone.now())
        return Response(_account(account_id))


def _known_account(account_id: UUID) -> BrokerAccount:
    account = selectors.accounts().filter(pk=account_id).first()
    if account is None:
        raise NotFound("There is no such account.")
    return account


def _account(account_id: UUID) -> dict[str, Any]:
    _known_account(account_id)
    found = selectors.summaries(now=timezone.now(), account_ids=[account_id])
    return dict(show.AccountOut(found[0]).data)


# --- deployments ---------------------------------------------------------------------------------


class DeploymentsAsked(serializers.Serializer[Any]):
    account_id = serializers.UUIDField(required=False)
    source_id = serializers.UUIDField(required=False)


class Deployments(IdempotentMixin, Listing[Deployment]):
    required_scope: ClassVar[dict[str, str]] = {"POST": Scope.MANAGE}
    serializer_class = show.DeploymentOut
    queryset = Deployment.objects

    @extend_schema(operation_id="deployments_list", parameters=[DeploymentsAsked])
    def get(self, request: Request) -> Response:
        """Where sources' signals go; those that have ended are not listed."""
        asked = checked(DeploymentsAsked(data=request.query_params))
        return self.listed(selectors.deployments(**asked))

    @extend_schema(
        operation_id="deployments_create",
        request=show.DeploymentIn,
        responses={201: show.DeploymentOut},
        parameters=[IDEMPOTENCY_KEY],
    )
    def post(self, request: Request) -> Response:
        """Send a source's signals to an account."""
        deployment = services.create_deployment(
            **checked(show.DeploymentIn(data=request.data)), by=actor(request), now=timezone.now()
        )
        return Response(show.DeploymentOut(deployment).data, status=201)


class DeploymentView(APIView):
    required_scope: ClassVar[dict[str, str]] = {"PATCH": Scope.MANAGE, "DELETE": Scope.MANAGE}

    @extend_schema(operation_id="deployments_get", responses=show.DeploymentOut)
    def get(self, request: Request, deployment_id: UUID) -> Response:
        """One deployment."""
        found = selectors.deployments().filter(pk=deployment_id).first()
        if found is None:
            raise NotFound("There is no such deployment.")
        return Response(show.DeploymentOut(found).data)

    @extend_schema(
        operation_id="deployments_update",
        request=show.DeploymentChange,
        responses=show.DeploymentOut,
    )
    def patch(self, request: Request, deployment_id: UUID) -> Response:
        """Change, pause or resume a deployment."""
        given = checked(show.DeploymentChange(data=request.data))
        is_active = given.pop("is_active", None)
        common: dict[str, Any] = {
            "deployment_id": deployment_id, "by": actor(request), "now": timezone.now()
        }  # fmt: skip
        if given:
            services.update_deployment(**given, **common)
        if is_active is not None:
            verb = services.resume_deployment if is_active else services.pause_deployment
            verb(**common)
        return self.get(request, deployment_id)

    @extend_schema(
        operation_id="deployments_end",
        responses={204: OpenApiResponse(description="It takes no more signals.")},
    )
    def delete(self, request: Request, deployment_id: UUID) -> Response:
        """End a deployment: its open entries are canceled, positions and exits stay."""
        services.end_deployment(deployment_id=deployment_id, by=actor(request), now=timezone.now())
        return Response(status=204)


# --- orders --------------------------------------------------------------------------------------


class OrdersAsked(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=STATUSES, default="all")
    symbols = serializers.CharField(required=False, help_text="Comma-separated.")
    account_id = serializers.UUIDField(required=False)
    deployment_id = serializers.UUIDField(required=False)
    signal_id = serializers.UUIDField(required=False)
    side = serializers.ChoiceField(choices=Order.Side.choices, required=False)
    after = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)


class Orders(IdempotentMixin, Listing[Order]):
    serializer_class = show.OrderOut
    queryset = Order.objects

    @extend_schema(operation_id="orders_list", parameters=[OrdersAsked])
    def get(self, request: Request) -> Response:
        """Orders, newest first."""
        asked = checked(OrdersAsked(data=request.query_params))
        asked["symbols"] = _split(asked.pop("symbols", ""))
        page = self.paginate_queryset(selectors.orders(**asked)) or []
        legs = selectors.legs(order.pk for order in page)
        return self.get_paginated_response(
            show.OrderOut(page, many=True, context={"legs": legs}).data
        )

    @extend_schema(
        operation_id="orders_create",
        request=show.OrderIn,
        responses={201: show.PlacedOut},
        parameters=[IDEMPOTENCY_KEY],
    )
    def post(self, request: Request) -> Response:
        """Place an order; limits hold for it as for any signal's."""
        given = checked(show.OrderIn(data=request.data))
        exchange, _, symbol = given["symbol"].rpartition(":")
        instrument = market.find_instrument(symbol, exchange or None)
        if instrument is None:
            raise Invalid(f"No instrument is known as {given['symbol']}.")
        placed = services.place_order(
            account_id=given.get("account_id") or _only_account(),
            instrument=instrument,
            side=given["side"],
            quantity=given.get("qty"),
            notional=given.get("notional"),
            kind=given["type"],
            limit_price=given.get("limit_price"),
            stop_price=given.get("stop_price"),
            stop_loss=given.get("stop_loss", {}).get("stop_price"),
            take_profit=given.get("take_profit", {}).get("limit_price"),
            client_order_id=given["client_order_id"],
            by=actor(request),
            now=timezone.now(),
        )
        return Response(_placed(placed), status=201)


class OrderView(APIView):
    @extend_schema(operation_id="orders_get", responses=show.OrderDetail)
    def get(self, request: Request, order_id: UUID) -> Response:
        """One order, its legs, its risk check and everything that happened to it."""
        order = selectors.order(order_id)
        if order is None:
            raise NotFound("There is no such order.")
        context = {
            "legs": selectors.legs([order_id]),
            "history": selectors.order_history(order_id),
        }
        return Response(show.OrderDetail(order, context=context).data)

    @extend_schema(operation_id="orders_cancel", responses={202: show.OrderOut})
    def delete(self, request: Request, order_id: UUID) -> Response:
        """Ask for a cancellation; the answer is the order as it stands now."""
        order = services.request_cancel(order_id=order_id, by=actor(request), now=timezone.now())
        context = {"legs": selectors.legs([order_id])}
        return Response(show.OrderOut(order, context=context).data, status=202)


def _only_account() -> UUID:
    ids = list(selectors.accounts().values_list("pk", flat=True)[:2])
    if len(ids) != 1:
        raise Invalid("Say account_id: there is not exactly one account.")
    return ids[0]


def _placed(placed: services.Placed) -> dict[str, Any]:
    order = placed.order
    context = {
        "legs": selectors.legs([order.pk]),
        "outcome": placed.outcome,
        "message": placed.text,
    }
    return dict(show.PlacedOut(order, context=context).data)


def _split(symbols: str) -> list[str]:
    return symbols.split(",")[:50]


# --- what became of them -------------------------------------------------------------------------


class Asked(serializers.Serializer[Any]):
    account_id = serializers.UUIDField(required=False)
    symbols = serializers.CharField(required=False, help_text="Comma-separated.")


class FillsAsked(Asked):
    order_id = serializers.UUIDField(required=False)
    after = serializers.DateTimeField(required=False)


class Fills(Listing[Fill]):
    serializer_class = show.FillOut
    queryset = Fill.objects

    @extend_schema(operation_id="fills_list", parameters=[FillsAsked])
    def get(self, request: Request) -> Response:
        """Fills, newest first."""
        asked = checked(FillsAsked(data=request.query_params))
        asked["symbols"] = _split(asked.pop("symbols", ""))
        return self.listed(selectors.fills(**asked))


class Positions(Listing[Position]):
    serializer_class = show.PositionOut
    queryset = Position.objects

    @extend_schema(operation_id="positions_list", parameters=[Asked])
    def get(self, request: Request) -> Response:
        """What is held."""
        asked = checked(Asked(data=request.query_params))
        asked["symbols"] = _split(asked.pop("symbols", ""))
        return self.listed(selectors.positions(**asked))


class PositionView(APIView):
    @extend_schema(
        operation_id="positions_close",
        parameters=[OpenApiParameter("qty", str, description="All of it when left out.")],
        responses={202: show.PlacedOut},
    )
    def delete(self, request: Request, position_id: UUID) -> Response:
        """Close a position at the market; the answer is the order that does it."""
        asked = checked(CloseAsked(data=request.query_params))
        placed = services.close_position(
            position_id=position_id,
            quantity=asked.get("qty"),
            by=actor(request),
            now=timezone.now(),
        )
        return Response(_placed(placed), status=202)


class CloseAsked(serializers.Serializer[Any]):
    qty = serializers.DecimalField(required=False, min_value=0, **show.QUANTITY)


class TradesAsked(Asked):
    deployment_id = serializers.UUIDField(required=False)
    is_open = serializers.BooleanField(required=False, allow_null=True, default=None)


class Trades(Listing[Trade]):
    serializer_class = show.TradeOut
    queryset = Trade.objects

    @extend_schema(operation_id="trades_list", parameters=[TradesAsked])
    def get(self, request: Request) -> Response:
        """Positions from flat to flat, with their profit net of costs, newest first."""
        asked = checked(TradesAsked(data=request.query_params))
        asked["symbols"] = _split(asked.pop("symbols", ""))
        return self.listed(selectors.trades(**asked))


# --- the kill switch, and the news ---------------------------------------------------------------


class Halt(IdempotentMixin, APIView):
    @extend_schema(operation_id="halt_get", responses=show.HaltOut)
    def get(self, request: Request) -> Response:
        """Whether trading is halted."""
        return Response(show.HaltOut(switch.state()).data)

    @extend_schema(
        operation_id="halt_throw",
        request=show.HaltIn,
        responses={201: show.HaltOut},
        parameters=[IDEMPOTENCY_KEY],
    )
    def post(self, request: Request) -> Response:
        """Throw the kill switch: no entry is sent from now on, open ones are canceled."""
        state = services.halt_trading(
            **checked(show.HaltIn(data=request.data)), by=actor(request), now=timezone.now()
        )
        return Response(show.HaltOut(state).data, status=201)

    @extend_schema(operation_id="halt_resume", responses=show.HaltOut)
    def delete(self, request: Request) -> Response:
        """Let the tenant trade again."""
        state = services.resume_trading(by=actor(request), now=timezone.now())
        return Response(show.HaltOut(state).data)


class EventsAsked(serializers.Serializer[Any]):
    since = serializers.IntegerField(default=0, min_value=0)
    limit = serializers.IntegerField(default=100, min_value=1, max_value=500)


class EventsPage(serializers.Serializer[Any]):
    limit = serializers.IntegerField()
    has_more = serializers.BooleanField()
    next_cursor = serializers.IntegerField(help_text="The next request's ``since``.")


EventsOut = inline_serializer(
    "Events", {"data": show.EventOut(many=True), "pagination": EventsPage()}
)


class Events(APIView):
    @extend_schema(operation_id="events_list", parameters=[EventsAsked], responses=EventsOut)
    def get(self, request: Request) -> Response:
        """Everything that happened after ``since``, oldest first, without a gap."""
        asked = checked(EventsAsked(data=request.query_params))
        rows = events.since(asked["since"], limit=asked["limit"] + 1)
        page = rows[: asked["limit"]]
        return Response(
            {
                "data": show.EventOut(page, many=True).data,
                "pagination": {
                    "limit": asked["limit"],
                    "has_more": len(rows) > len(page),
                    "next_cursor": page[-1].sequence if page else asked["since"],
                },
            }
        )
