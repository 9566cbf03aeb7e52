import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.models import AuditEvent, Tenant, User
from apps.core.models import Event
from apps.core.tenancy import acting_for
from apps.marketdata.models import Instrument
from apps.trading import desk, urls
from apps.trading.models import BrokerAccount, Deployment, Fill, Order, Position, RiskLimits
from tests.apps.trading.conftest import Market
from tests.factories import make_account, make_deployment, make_endpoint

V1 = "/api/v1"
PEOPLE = ["anonymous", "viewer", "trader", "owner", "bob"]
ACCOUNT = {"name": "Second", "starting_cash": "5000"}
ORDER = {"symbol": "BTCUSD", "qty": "1", "side": "buy", "type": "market"}
Ask = Callable[..., Any]
Ids = dict[str, str]


@pytest.fixture
def people(
    owner: User, trader: User, charlie: User, bob: Tenant
) -> dict[str, User | Tenant | None]:
    return {"anonymous": None, "viewer": charlie, "trader": trader, "owner": owner, "bob": bob}


@pytest.fixture
def ask(people: dict[str, Any], client_for: Callable[[Any], Client]) -> Ask:
    def send(who: str, method: str, path: str, body: object = None, **headers: str) -> Any:
        client = client_for(people[who]) if people[who] else Client()
        data: Any = json.dumps({} if body is None else body)
        return client.generic(
            method, V1 + path, data, content_type="application/json", headers=headers
        )

    return send


@pytest.fixture
def ids(
    alice: Tenant, account: BrokerAccount, btc: Instrument, market: Market,
    order_of: Callable[..., Order],
) -> Ids:  # fmt: skip
    """One of everything in Alice's tenant: a position, an open order, a deployment."""
    market.open(100)
    order_of(quantity=Decimal(2), created_at=timezone.now())
    desk.work(now=timezone.now())
    market.close(100).open(101)
    desk.work(now=timezone.now())
    waiting = order_of(kind="limit", limit_price=Decimal(50), created_at=timezone.now())
    endpoint = make_endpoint(alice)
    deployment = make_deployment(alice, endpoint, account)
    with acting_for(alice):
        return {
            "account": str(account.pk),
            "order": str(waiting.pk),
            "deployment": str(deployment.pk),
            "position": str(Position.objects.get().pk),
            "endpoint": str(endpoint.pk),
        }


def written(*tenants: Tenant) -> list[tuple[int, ...]]:
    """How much there is of everything, in each tenant."""
    counts = []
    for tenant in tenants:
        with acting_for(tenant):
            models: Any = (
                BrokerAccount, RiskLimits, Deployment, Order, Fill, Event, AuditEvent, Position,
            )  # fmt: skip
            cancels = Order.objects.filter(cancel_requested_at__isnull=False).count()
            counts.append((*(model.objects.count() for model in models), cancels))
    return counts


# The status for each person, in the order of PEOPLE.
MATRIX: list[tuple[str, str, Any, list[int]]] = [
    ("GET", "/accounts", None, [401, 200, 200, 200, 200]),
    ("POST", "/accounts", ACCOUNT, [401, 403, 403, 201, 201]),
    ("GET", "/accounts/{account}", None, [401, 200, 200, 200, 404]),
    ("PATCH", "/accounts/{account}", {"name": "New"}, [401, 403, 403, 200, 404]),
    ("PATCH", "/accounts/{account}", {"state": "halted"}, [401, 403, 403, 200, 404]),
    ("GET", "/accounts/{account}/equity", None, [401, 200, 200, 200, 404]),
    ("GET", "/accounts/{account}/limits", None, [401, 200, 200, 200, 404]),
    ("PUT", "/accounts/{account}/limits", {"max_leverage": "3"}, [401, 403, 403, 200, 404]),
    ("POST", "/accounts/{account}/accept-positions", None, [401, 403, 403, 409, 404]),
    ("GET", "/deployments", None, [401, 200, 200, 200, 200]),
    ("GET", "/deployments/{deployment}", None, [401, 200, 200, 200, 404]),
    ("PATCH", "/deployments/{deployment}", {"is_active": False}, [401, 403, 403, 200, 404]),
    ("DELETE", "/deployments/{deployment}", None, [401, 403, 403, 204, 404]),
    ("GET", "/orders", None, [401, 200, 200, 200, 200]),
    ("POST", "/orders", ORDER, [401, 403, 201, 201, 422]),
    ("POST", "/orders", {**ORDER, "account_id": "{account}"}, [401, 403, 201, 201, 404]),
    ("GET", "/orders/{order}", None, [401, 200, 200, 200, 404]),
    ("DELETE", "/orders/{order}", None, [401, 403, 202, 202, 404]),
    ("GET", "/fills", None, [401, 200, 200, 200, 200]),
    ("GET", "/positions", None, [401, 200, 200, 200, 200]),
    ("DELETE", "/positions/{position}", None, [401, 403, 202, 202, 404]),
    ("GET", "/trades", None, [401, 200, 200, 200, 200]),
    ("GET", "/halt", None, [401, 200, 200, 200, 200]),
    ("POST", "/halt", {"reason": "test"}, [401, 403, 201, 201, 201]),
    ("DELETE", "/halt", None, [401, 403, 200, 200, 200]),
    ("GET", "/events", None, [401, 200, 200, 200, 200]),
    (
        "POST",
        "/deployments",
        {"name": "x", "source_id": "{endpoint}", "account_id": "{account}"},
        [401, 403, 403, 409, 404],
    ),
]


def filled_in(body: Any, ids: Ids) -> Any:
    text = json.dumps(body)
    for name, value in ids.items():
        text = text.replace("{" + name + "}", value)
    return json.loads(text)


class TestWhoMayWhat:
    def test_every_address_is_in_the_matrix(self) -> None:
        patterns = {
            "/" + str(pattern.pattern).replace("<uuid:", "{").replace("_id>", "}")
            for pattern in urls.api_urlpatterns
        }

        assert patterns == {path for _, path, _, _ in MATRIX}

    @pytest.mark.parametrize("case", MATRIX, ids=lambda case: f"{case[0]} {case[1]}")
    def test_each_gets_what_they_may_and_a_refusal_writes_nothing(
        self, ask: Ask, ids: Ids, alice: Tenant, bob: Tenant, case: Any
    ) -> None:
        method, path, body, expected = case
        # The owner last: what they may do changes what the others would find.
        for who in ("anonymous", "viewer", "bob"):
            before = written(alice, bob)

            response = ask(who, method, path.format(**ids), filled_in(body, ids))

            status = expected[PEOPLE.index(who)]
            assert response.status_code == status, (who, response.content)
            if status >= 400:
                assert response["Content-Type"] == "application/problem+json"
                assert response.json()["code"]
                assert written(alice, bob) == before
            else:
                assert written(alice) == before[:1]

    @pytest.mark.parametrize("who", ["trader", "owner"])
    @pytest.mark.parametrize("case", MATRIX, ids=lambda case: f"{case[0]} {case[1]}")
    def test_members_get_what_they_may(self, ask: Ask, ids: Ids, case: Any, who: str) -> None:
        method, path, body, expected = case

        response = ask(who, method, path.format(**ids), filled_in(body, ids))

        assert response.status_code == expected[PEOPLE.index(who)], response.content

    def test_bob_sees_nothing_of_alices(self, ask: Ask, ids: Ids) -> None:
        for path in ("/accounts", "/deployments", "/orders", "/fills", "/positions", "/trades"):
            assert ask("bob", "GET", path).json()["data"] == []

    def test_bob_cannot_deploy_alices_endpoint(self, ask: Ask, ids: Ids, bob: Tenant) -> None:
        own = make_account(bob)

        response = ask(
            "bob", "POST", "/deployments",
            {"name": "x", "source_id": ids["endpoint"], "account_id": str(own.pk)},
        )  # fmt: skip

        assert (response.status_code, response.json()["code"]) == (422, "unknown_source")
        with acting_for(bob):
            assert not Deployment.objects.exists()


class TestAccounts:
    def test_opens_with_limits(self, ask: Ask, alice: Tenant) -> None:
        made = ask("owner", "POST", "/accounts", {**ACCOUNT, "limits": {"max_leverage": "1.5"}})

        body = made.json()
        assert made.status_code == 201
        assert Decimal(body["equity"]) == 5000
        limits = ask("owner", "GET", f"/accounts/{body['id']}/limits").json()
        assert Decimal(limits["max_leverage"]) == Decimal("1.5")
        assert Decimal(limits["max_order_notional"]) == 100_000
        with acting_for(alice):
            assert AuditEvent.objects.get().action == "account.created"

    def test_once_for_one_idempotency_key(self, ask: Ask, alice: Tenant) -> None:
        first, again = (
            ask("owner", "POST", "/accounts", ACCOUNT, **{"Idempotency-Key": "k"}) for _ in range(2)
        )

        assert first.json() == again.json()
        with acting_for(alice):
            assert BrokerAccount.objects.count() == 1

    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            ({"starting_cash": "0"}, 422),
            ({"name": ""}, 422),
            ({"limits": {"max_leverage": "-1"}}, 422),
            ({"limits": {"max_leverage": "900"}}, 422),
            ({"limits": {"allowed_instruments": [str(uuid4())]}}, 422),
            ({"name": "Paper"}, 409),
        ],
    )
    def test_nonsense_is_refused(
        self, ask: Ask, account: BrokerAccount, changes: dict[str, Any], status: int
    ) -> None:
        assert ask("owner", "POST", "/accounts", {**ACCOUNT, **changes}).status_code == status

    def test_shows_worth_and_risk(self, ask: Ask, ids: Ids, order_of: Any) -> None:
        order_of(
            side="sell", kind="stop", stop_price=Decimal(95), reduce_only=True, role="stop",
            quantity=Decimal(1), status="accepted",
        )  # fmt: skip

        body = ask("viewer", "GET", f"/accounts/{ids['account']}").json()

        # Two units bought at 101 for a fee of 0.202; one is stopped at 95.
        assert Decimal(body["equity"]) == Decimal("99999.798")
        assert Decimal(body["risk_to_stops"]) == 6
        assert Decimal(body["unprotected"]) == 101
        assert body["open_positions"] == 1

    def test_a_limit_can_be_taken_away(self, ask: Ask, ids: Ids) -> None:
        path = f"/accounts/{ids['account']}/limits"

        ask("owner", "PUT", path, {"max_open_positions": None, "max_orders_per_minute": 3})

        limits = ask("owner", "GET", path).json()
        assert (limits["max_open_positions"], limits["max_orders_per_minute"]) == (None, 3)

    def test_the_equity_curve(self, ask: Ask, ids: Ids) -> None:
        points = ask("viewer", "GET", f"/accounts/{ids['account']}/equity?points=10").json()

        assert [Decimal(point["equity"]) for point in points["data"]] == [Decimal("99999.798")]


class TestOrders:
    def test_a_bracket_in_alpacas_words(self, ask: Ask, ids: Ids) -> None:
        response = ask(
            "trader", "POST", "/orders",
            {
                "symbol": "TEST:BTCUSD", "notional": "1000", "side": "buy", "type": "limit",
                "limit_price": "100", "order_class": "bracket",
                "stop_loss": {"stop_price": "90"}, "take_profit": {"limit_price": "120"},
                "client_order_id": "mine-1",
            },
        )  # fmt: skip

        body = response.json()
        assert response.status_code == 201, body
        assert (body["qty"], body["client_order_id"], body["status"]) == ("10", "mine-1", "new")
        assert body["outcome"] == "accepted"
        assert [(leg["type"], leg["role"], leg["qty"]) for leg in body["legs"]] == [
            ("stop", "stop", "10"),
            ("limit", "target", "10"),
        ]

    def test_a_name_is_used_once(self, ask: Ask, ids: Ids) -> None:
        named = {**ORDER, "client_order_id": "mine"}

        assert ask("trader", "POST", "/orders", named).status_code == 201
        again = ask("trader", "POST", "/orders", named)

        assert (again.status_code, again.json()["code"]) == (422, "client_order_id_taken")

    def test_selling_what_is_held_does_not_turn_the_position(
        self, ask: Ask, ids: Ids, alice: Tenant
    ) -> None:
        ask("trader", "POST", "/orders", {**ORDER, "side": "sell", "qty": "1.5"})

        with acting_for(alice):
            order = Order.objects.latest("created_at")
            assert (order.quantity, order.reduce_only, order.role) == (Decimal("1.5"), True, "exit")

    def test_a_refusal_names_the_limit_and_writes_nothing(
        self, ask: Ask, ids: Ids, alice: Tenant
    ) -> None:
        ask("owner", "PUT", f"/accounts/{ids['account']}/limits", {"max_orders_per_minute": 0})
        before = written(alice)

        response = ask("trader", "POST", "/orders", ORDER)

        assert (response.status_code, response.json()["code"]) == (422, "too_many_orders")
        assert written(alice) == before

    def test_a_limit_may_reduce_it(self, ask: Ask, ids: Ids) -> None:
        ask("owner", "PUT", f"/accounts/{ids['account']}/limits", {"max_order_quantity": "0.5"})

        body = ask("trader", "POST", "/orders", ORDER).json()

        assert (body["qty"], body["outcome"]) == ("0.5", "reduced")

    @pytest.mark.parametrize(
        "changes",
        [
            {"qty": "0"},
            {"qty": "-1"},
            {"notional": "5"},
            {"type": "limit"},
            {"limit_price": "5"},
            {"type": "trailing_stop"},
            {"time_in_force": "day"},
            {"order_class": "bracket"},
            {"stop_loss": {"stop_price": "90"}},
            {"symbol": "NOPE"},
            {"client_order_id": "pl-mine"},
            {"qty": "1e30"},
            {"side": "hold"},
        ],
    )
    def test_nonsense_is_refused_and_nothing_is_written(
        self, ask: Ask, ids: Ids, alice: Tenant, changes: dict[str, Any]
    ) -> None:
        before = written(alice)

        assert ask("trader", "POST", "/orders", {**ORDER, **changes}).status_code == 422
        assert written(alice) == before

    def test_filters(self, ask: Ask, ids: Ids) -> None:
        def found(query: str) -> list[str]:
            return [
                row["status"] for row in ask("viewer", "GET", f"/orders?{query}").json()["data"]
            ]

        assert found("status=open") == ["new"]
        assert found("status=closed") == ["filled"]
        assert found("status=filled&symbols=btcusd") == ["filled"]
        assert found("symbols=ETHUSD") == []
        assert ask("viewer", "GET", "/orders?status=lost").status_code == 422

    def test_paging(self, ask: Ask, ids: Ids) -> None:
        first = ask("viewer", "GET", "/orders?limit=1").json()
        cursor = first["pagination"]["next_cursor"]
        second = ask("viewer", "GET", f"/orders?limit=1&cursor={cursor}").json()

        assert first["pagination"]["has_more"]
        assert not second["pagination"]["has_more"]
        assert first["data"][0]["id"] != second["data"][0]["id"]

    def test_tells_its_whole_story(self, ask: Ask, ids: Ids) -> None:
        filled = ask("viewer", "GET", "/orders?status=filled").json()["data"][0]

        body = ask("viewer", "GET", f"/orders/{filled['id']}").json()

        kinds = [event["kind"] for event in body["history"]]
        assert kinds == ["order.accepted", "order.filled"]
        assert body["risk"]["passed"] is True

    def test_a_cancellation_is_carried_out_by_the_desk(self, ask: Ask, ids: Ids) -> None:
        path = f"/orders/{ids['order']}"
        desk.work(now=timezone.now())

        asked = [ask("trader", "DELETE", path).status_code for _ in range(2)]
        desk.work(now=timezone.now())

        assert asked == [202, 202]
        assert ask("viewer", "GET", path).json()["status"] == "canceled"
        again = ask("trader", "DELETE", path)
        assert (again.status_code, again.json()["code"]) == (409, "order_closed")

    def test_lists_cost_as_many_queries_however_long_they_are(
        self, client_for: Callable[[Any], Client], ids: Ids, order_of: Any, alice: Tenant
    ) -> None:
        client = client_for(alice)

        def cost(path: str) -> int:
            with CaptureQueriesContext(connections["default"]) as queries:
                assert client.get(V1 + path).status_code == 200
            return len(queries)

        paths = ("/orders", "/accounts", "/deployments", "/positions")
        before = [cost(path) for path in paths]
        for number in range(5):
            order_of()
            make_account(alice, f"Number {number}")

        assert [cost(path) for path in paths] == before


class TestPositions:
    def test_shows_what_is_held(self, ask: Ask, ids: Ids) -> None:
        body = ask("viewer", "GET", "/positions").json()["data"][0]

        assert (body["symbol"], body["qty"], body["side"]) == ("BTCUSD", "2", "long")
        assert (body["current_price"], body["unrealized_pl"]) == ("101", "0")

    def test_closing_takes_entries_back_and_ends_flat(
        self, ask: Ask, ids: Ids, market: Market, alice: Tenant
    ) -> None:
        assert ask("trader", "DELETE", f"/positions/{ids['position']}").status_code == 202

        desk.work(now=timezone.now())
        market.close(101).open(102)
        desk.work(now=timezone.now())

        assert ask("viewer", "GET", "/positions").json()["data"] == []
        assert ask("viewer", "GET", "/orders?status=open").json()["data"] == []
        assert len(ask("viewer", "GET", "/trades?is_open=false").json()["data"]) == 1
        assert len(ask("viewer", "GET", "/fills").json()["data"]) == 2
        again = ask("trader", "DELETE", f"/positions/{ids['position']}")
        assert (again.status_code, again.json()["code"]) == (422, "nothing_to_close")

    def test_closing_a_part(self, ask: Ask, ids: Ids) -> None:
        body = ask("trader", "DELETE", f"/positions/{ids['position']}?qty=0.5").json()

        assert (body["qty"], body["side"], body["reduce_only"]) == ("0.5", "sell", True)


class TestDeployments:
    def test_a_life(self, ask: Ask, ids: Ids, alice: Tenant) -> None:
        path = f"/deployments/{ids['deployment']}"

        changed = ask("owner", "PATCH", path, {"sizing": "risk", "size": "0.02"}).json()
        paused = ask("owner", "PATCH", path, {"is_active": False}).json()
        ended = ask("owner", "DELETE", path)
        again = ask(
            "owner", "POST", "/deployments",
            {"name": "again", "source_id": ids["endpoint"], "account_id": ids["account"]},
        )  # fmt: skip

        assert (changed["sizing"], paused["is_active"]) == ("risk", False)
        assert ended.status_code == 204
        assert ask("owner", "GET", path).status_code == 404
        assert again.status_code == 201, again.content
        with acting_for(alice):
            assert Deployment.objects.count() == 2

    @pytest.mark.parametrize("changes", [{"size": "0"}, {"sizing": "all"}, {"size": "-1"}])
    def test_nonsense_is_refused(self, ask: Ask, ids: Ids, changes: dict[str, Any]) -> None:
        path = f"/deployments/{ids['deployment']}"

        assert ask("owner", "PATCH", path, changes).status_code == 422


class TestHalt:
    def test_throw_and_resume(self, ask: Ask, ids: Ids, alice: Tenant) -> None:
        thrown = ask("trader", "POST", "/halt", {"reason": "news", "flatten": True}).json()
        refused = ask("trader", "POST", "/orders", ORDER)
        resumed = ask("trader", "DELETE", "/halt").json()

        assert (thrown["is_halted"], thrown["reason"]) == (True, "news")
        assert (refused.status_code, refused.json()["code"]) == (422, "halted")
        assert resumed["is_halted"] is False
        with acting_for(alice):
            assert Order.objects.filter(role="flatten").count() == 1
            actions = list(AuditEvent.objects.values_list("action", flat=True))
            assert actions[-2:] == ["trading.halted", "trading.resumed"]


class TestEvents:
    def test_from_a_sequence_on(self, ask: Ask, ids: Ids) -> None:
        first = ask("viewer", "GET", "/events?limit=2").json()
        rest = ask("viewer", "GET", f"/events?since={first['pagination']['next_cursor']}").json()

        sequences = [row["sequence"] for row in first["data"] + rest["data"]]
        assert sequences == list(range(1, len(sequences) + 1))
        assert first["pagination"]["has_more"]
        assert not rest["pagination"]["has_more"]


def test_the_schema_is_complete(database: None, recwarn: Any) -> None:
    from drf_spectacular.drainage import GENERATOR_STATS
    from drf_spectacular.generators import SchemaGenerator

    GENERATOR_STATS.reset()
    generator: Any = SchemaGenerator
    schema = generator().get_schema(public=True)

    ours = {
        f"{V1}/" + str(p.pattern).replace("<uuid:", "{").replace(">", "}")
        for p in urls.api_urlpatterns
    }
    assert ours <= set(schema["paths"])
    faults = [str(key) for key in (*GENERATOR_STATS._error_cache, *GENERATOR_STATS._warn_cache)]
    assert [fault for fault in faults if "apps/trading" in fault] == []
