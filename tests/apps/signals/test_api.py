from collections.abc import Callable

from django.test import Client

from apps.accounts.models import Tenant, User
from tests.apps.signals.conftest import Desk

BUY = {"ticker": "BTCUSD", "action": "buy", "quantity": 2}
Clients = Callable[[User | Tenant], Client]


class TestSignals:
    def test_a_list_shows_each_with_its_decisions(self, desk: Desk, client_for: Clients) -> None:
        desk.decide(BUY)
        desk.decide(BUY | {"action": "close", "ticker": "NOSUCH"})

        page = client_for(desk.tenant).get("/api/v1/signals").json()

        assert [row["ticker"] for row in page["data"]] == ["NOSUCH", "BTCUSD"]
        assert page["data"][1]["decisions"][0]["outcome"] == "accepted"
        assert page["data"][1]["score"] is None
        assert page["pagination"] == {"limit": 50, "has_more": False, "next_cursor": None}

    def test_filters_narrow_the_list(self, desk: Desk, client_for: Clients) -> None:
        desk.decide(BUY)
        desk.decide(BUY | {"ticker": "NOSUCH"})
        client = client_for(desk.tenant)

        for query, found in [
            ("ticker=btcusd", ["BTCUSD"]),
            ("outcome=rejected", ["NOSUCH"]),
            ("action=sell", []),
        ]:
            page = client.get(f"/api/v1/signals?{query}").json()
            assert [row["ticker"] for row in page["data"]] == found

    def test_pages_follow_each_other_by_cursor(self, desk: Desk, client_for: Clients) -> None:
        for quantity in range(1, 6):
            desk.decide(BUY | {"quantity": quantity})
        client = client_for(desk.tenant)

        first = client.get("/api/v1/signals?limit=2").json()
        cursor = first["pagination"]["next_cursor"]
        second = client.get("/api/v1/signals", {"limit": 2, "cursor": cursor}).json()

        quantities = [float(row["quantity"]) for row in first["data"] + second["data"]]
        assert quantities == [5, 4, 3, 2]
        assert second["pagination"]["has_more"]

    def test_one_names_its_orders(self, desk: Desk, client_for: Clients) -> None:
        signal = desk.decide(BUY).signal
        assert signal is not None

        found = client_for(desk.tenant).get(f"/api/v1/signals/{signal.pk}").json()

        assert found["order_ids"] == [str(desk.orders()[0].pk)]
        assert found["reading"]["action"] == "buy"

    def test_bob_finds_none_of_alices(self, desk: Desk, bob: Tenant, client_for: Clients) -> None:
        signal = desk.decide(BUY).signal
        assert signal is not None
        client = client_for(bob)

        assert client.get("/api/v1/signals").json()["data"] == []
        assert client.get("/api/v1/decisions").json()["data"] == []
        assert client.get(f"/api/v1/signals/{signal.pk}").status_code == 404

    def test_a_viewer_may_read(self, desk: Desk, charlie: User, client_for: Clients) -> None:
        desk.decide(BUY)

        page = client_for(charlie).get("/api/v1/decisions?outcome=accepted").json()

        assert [row["code"] for row in page["data"]] == ["ok"]

    def test_strangers_are_asked_to_log_in(self, desk: Desk) -> None:
        for address in ("/api/v1/signals", "/api/v1/decisions"):
            answer = Client().get(address)
            assert answer.status_code == 401
            assert answer.json()["code"] == "not_authenticated"
