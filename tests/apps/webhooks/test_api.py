"""The API of endpoints and alerts, asked by Alice, by Bob and by Charlie who may only look."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import Tenant, User
from apps.core.tenancy import acting_for
from apps.webhooks import services
from apps.webhooks.models import Alert, Endpoint
from tests.factories import NOON, make_alert

ClientFor = Callable[[User | Tenant], Client]
ENDPOINTS = "/api/v1/endpoints"
ALERTS = "/api/v1/alerts"
NOBODY = "00000000-0000-7000-8000-000000000000"


def post(client: Client, path: str, content: Any = None, **headers: str) -> Any:
    return client.post(path, content or {}, content_type="application/json", headers=headers)


@pytest.fixture
def endpoint(alice: Tenant) -> Endpoint:
    with acting_for(alice):
        return services.create_endpoint(name="Strategy", now=NOON)[0]


@pytest.fixture
def alert(alice: Tenant, endpoint: Endpoint) -> Alert:
    made = make_alert(alice, endpoint, b'\xff\0{"ticker"')
    with acting_for(alice):
        Alert.objects.update(status="decided", message_code="unparseable", decided_at=NOON)
    return made


class TestEndpoints:
    def test_a_new_one_shows_its_address_once(self, alice: Tenant, client_for: ClientFor) -> None:
        client = client_for(alice)

        made = post(client, ENDPOINTS, {"name": "Breakout", "max_age_s": 30})

        assert made.status_code == 201
        assert made.json()["url"].endswith(f"/hooks/{made.json()['token']}")
        assert made.headers["Cache-Control"] == "no-store"
        [listed] = client.get(ENDPOINTS).json()["data"]
        assert listed["name"] == "Breakout"
        assert listed["max_age_s"] == 30
        assert not {"token", "url", "token_digest"} & set(listed)

    def test_the_same_key_makes_one_and_does_not_show_the_token_again(
        self, alice: Tenant, client_for: ClientFor
    ) -> None:
        client = client_for(alice)
        headers = {"Idempotency-Key": "once"}

        first = post(client, ENDPOINTS, {"name": "E"}, **headers)
        again = post(client, ENDPOINTS, {"name": "E"}, **headers)

        assert again.json()["id"] == first.json()["id"]
        assert again.json()["token"] is None
        assert again.json()["url"] is None
        assert len(client.get(ENDPOINTS).json()["data"]) == 1

    @pytest.mark.parametrize("wrong", [{}, {"name": ""}, {"name": "E", "max_age_s": 1}])
    def test_nonsense_is_refused(
        self, alice: Tenant, client_for: ClientFor, wrong: dict[str, Any]
    ) -> None:
        assert post(client_for(alice), ENDPOINTS, wrong).status_code == 422

    def test_it_is_changed_paused_resumed_rotated_and_deleted(
        self, alice: Tenant, endpoint: Endpoint, client_for: ClientFor
    ) -> None:
        client = client_for(alice)
        path = f"{ENDPOINTS}/{endpoint.pk}"

        changed = client.patch(path, {"name": "New"}, content_type="application/json")
        paused = post(client, f"{path}/pause")
        resumed = post(client, f"{path}/resume")
        rotated = post(client, f"{path}/rotate", {"overlap_s": 60})
        deleted = client.delete(path)

        assert changed.json()["name"] == "New"
        assert (paused.json()["is_paused"], resumed.json()["is_paused"]) == (True, False)
        assert rotated.json()["token"].endswith(rotated.json()["token_hint"])
        assert deleted.status_code == 204
        assert client.get(path).status_code == 404

    def test_its_deliveries_come_in_pages(
        self, alice: Tenant, endpoint: Endpoint, client_for: ClientFor
    ) -> None:
        for number in range(5):
            make_alert(alice, endpoint, b"%d" % number)
        client, path = client_for(alice), f"{ENDPOINTS}/{endpoint.pk}/deliveries"

        first = client.get(path, {"limit": 3}).json()
        second = client.get(path, {"limit": 3, "cursor": first["pagination"]["next_cursor"]}).json()

        assert [line["preview"] for line in first["data"] + second["data"]] == list("43210")
        assert first["pagination"]["has_more"] is True
        assert second["pagination"] == {"limit": 3, "has_more": False, "next_cursor": None}

    @pytest.mark.parametrize("cursor", ["x", "!!!!", "MjAyNiAx", "AAAA"])
    def test_a_cursor_of_ones_own_is_refused(
        self, alice: Tenant, endpoint: Endpoint, client_for: ClientFor, cursor: str
    ) -> None:
        reply = client_for(alice).get(f"{ENDPOINTS}/{endpoint.pk}/deliveries", {"cursor": cursor})

        assert reply.status_code == 422
        assert reply.json()["code"] == "cursor_invalid"


class TestAlerts:
    def test_the_list_says_what_was_wrong_and_what_to_do(
        self, alice: Tenant, alert: Alert, client_for: ClientFor
    ) -> None:
        [listed] = client_for(alice).get(ALERTS).json()["data"]

        assert listed["id"] == str(alert.pk)
        assert listed["message_code"] == "unparseable"
        assert listed["explanation"]
        assert listed["hint"]
        assert listed["repeats"] == 0
        assert "body" not in listed

    def test_the_list_comes_in_pages(
        self, alice: Tenant, endpoint: Endpoint, client_for: ClientFor
    ) -> None:
        made = [str(make_alert(alice, endpoint, b"%d" % number).pk) for number in range(5)]
        client = client_for(alice)

        first = client.get(ALERTS, {"limit": 3}).json()
        cursor = first["pagination"]["next_cursor"]
        second = client.get(ALERTS, {"limit": 3, "cursor": cursor}).json()

        assert [line["id"] for line in first["data"] + second["data"]] == made[::-1]

    def test_a_body_loses_no_byte(self, alice: Tenant, alert: Alert, client_for: ClientFor) -> None:
        shown = client_for(alice).get(f"{ALERTS}/{alert.pk}").json()

        assert base64.b64decode(shown["body_base64"]) == b'\xff\0{"ticker"'
        assert shown["body"] == '\ufffd\0{"ticker"'

    def test_a_replay_is_a_new_one_that_waits(
        self, alice: Tenant, alert: Alert, client_for: ClientFor
    ) -> None:
        reply = post(client_for(alice), f"{ALERTS}/{alert.pk}/replay")

        assert reply.status_code == 202
        assert reply.json()["replay_of_id"] == str(alert.pk)
        assert reply.json()["status"] == "stored"


READS = ["{e}", "{e}/deliveries", "{a}"]
CHANGES = [("post", "{e}/rotate"), ("post", "{e}/pause"), ("post", "{e}/resume"),
           ("patch", "{e}"), ("delete", "{e}"), ("post", "{a}/replay")]  # fmt: skip


def filled(path: str, endpoint: Any, alert: Any) -> str:
    return path.format(e=f"{ENDPOINTS}/{endpoint}", a=f"{ALERTS}/{alert}")


class TestWhoMay:
    @pytest.mark.parametrize("path", READS)
    def test_a_viewer_looks(
        self,
        alice: Tenant,
        charlie: User,
        endpoint: Endpoint,
        alert: Alert,
        client_for: ClientFor,
        path: str,
    ) -> None:
        client = client_for(charlie)

        assert client.get(filled(path, endpoint.pk, alert.pk)).status_code == 200

    @pytest.mark.parametrize(("method", "path"), CHANGES)
    def test_a_viewer_changes_nothing(
        self,
        alice: Tenant,
        charlie: User,
        endpoint: Endpoint,
        alert: Alert,
        client_for: ClientFor,
        method: str,
        path: str,
    ) -> None:
        send = getattr(client_for(charlie), method)

        reply = send(filled(path, endpoint.pk, alert.pk), content_type="application/json")

        assert reply.status_code == 403
        with acting_for(alice):
            assert Alert.objects.count() == 1
            assert Endpoint.objects.get().deleted_at is None

    @pytest.mark.parametrize(("method", "path"), [*(("get", path) for path in READS), *CHANGES])
    def test_another_tenant_finds_nothing(
        self,
        alice: Tenant,
        bob: Tenant,
        endpoint: Endpoint,
        alert: Alert,
        client_for: ClientFor,
        method: str,
        path: str,
    ) -> None:
        send = getattr(client_for(bob), method)

        reply = send(filled(path, endpoint.pk, alert.pk), content_type="application/json")

        assert reply.status_code == 404
        with acting_for(alice):
            assert Alert.objects.count() == 1
            assert Endpoint.objects.get().deleted_at is None

    def test_lists_show_ones_own_alone(
        self, alice: Tenant, bob: Tenant, alert: Alert, client_for: ClientFor
    ) -> None:
        client = client_for(bob)

        assert client.get(ENDPOINTS).json()["data"] == []
        assert client.get(ALERTS).json()["data"] == []

    @pytest.mark.parametrize("path", [ENDPOINTS, ALERTS, f"{ALERTS}/{NOBODY}"])
    def test_nobody_gets_in_without_saying_who(self, database: None, path: str) -> None:
        assert Client().get(path).status_code == 401
