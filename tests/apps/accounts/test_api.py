import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from allauth.account.models import EmailAddress
from django.core.cache import cache
from django.test import Client
from django.urls import include, path
from drf_spectacular.generators import SchemaGenerator

from apps.accounts import audit, urls
from apps.accounts.models import ApiKey, Membership, Tenant, User
from apps.core.tenancy import acting_for

V1 = "/api/v1"
KEY = {"name": "bot", "scopes": ["read"]}
People = dict[str, User | None]
Browser = Callable[[User | None], Client]
KeyOf = Callable[..., str]


def send(
    client: Client, method: str, path: str, body: object = None, *, key: str = "", **headers: str
) -> Any:
    if key:
        headers["Authorization"] = f"Bearer {key}"
    data: Any = {} if body is None else body
    return client.generic(
        method, V1 + path, json.dumps(data), content_type="application/json", headers=headers
    )


@pytest.fixture
def ids(alice: Tenant, owner: User, charlie: User, key_of: KeyOf) -> dict[str, UUID]:
    """A key of Alice's and the membership of her viewer."""
    key_of(owner, alice)
    with acting_for(alice):
        return {
            "key": ApiKey.objects.get().pk,
            "member": Membership.objects.get(user=charlie).pk,
        }


# Who may what: the status for each person, in the order of PEOPLE.
# The same for every worker of a test run: parameters name the tests.
NOBODY = "00000000-0000-7000-8000-000000000000"
PEOPLE = ["anonymous", "viewer", "trader", "owner", "other tenant"]
MATRIX = [
    ("GET", "/me", None, [401, 200, 200, 200, 200]),
    ("GET", "/keys", None, [401, 200, 200, 200, 200]),
    ("POST", "/keys", KEY, [401, 201, 201, 201, 201]),
    ("POST", "/keys", {**KEY, "scopes": ["trade"]}, [401, 422, 201, 201, 201]),
    ("POST", "/keys", {**KEY, "scopes": ["manage"]}, [401, 422, 422, 201, 201]),
    ("DELETE", "/keys/{key}", None, [401, 404, 404, 204, 404]),
    ("GET", "/members", None, [401, 200, 200, 200, 200]),
    ("POST", "/members", {"email": "no@example.com", "role": "viewer"}, [401, 403, 403, 422, 422]),
    ("PATCH", "/members/{member}", {"role": "trader"}, [401, 403, 403, 200, 404]),
    ("DELETE", "/members/{member}", None, [401, 403, 403, 204, 404]),
    ("GET", "/audit", None, [401, 403, 403, 200, 200]),
    ("POST", "/tenants/switch", {"tenant_id": NOBODY}, [401, 404, 404, 404, 404]),
    ("DELETE", "/auth/token", None, [401, 404, 404, 404, 404]),
    ("POST", "/auth/token", {"email": "x@example.com", "password": "x"}, [401] * 5),
]


class TestWhoMayWhat:
    def test_every_address_is_in_the_matrix(self) -> None:
        patterns = {
            "/"
            + str(pattern.pattern)
            .replace("<uuid:key_id>", "{key}")
            .replace("<uuid:member_id>", "{member}")
            for pattern in urls.api_urlpatterns
        }

        assert patterns == {path for _, path, _, _ in MATRIX}

    @pytest.mark.parametrize("who", PEOPLE)
    @pytest.mark.parametrize(
        ("method", "path", "body", "expected"), MATRIX, ids=lambda value: str(value)[:24]
    )
    def test_each_gets_what_they_may(
        self,
        people: People,
        browser: Browser,
        ids: dict[str, UUID],
        method: str,
        path: str,
        body: object,
        expected: list[int],
        who: str,
    ) -> None:
        cache.clear()
        response = send(browser(people[who]), method, path.format(**ids), body)

        assert response.status_code == expected[PEOPLE.index(who)], response.content
        if response.status_code >= 400:
            assert response["Content-Type"] == "application/problem+json"
            assert response.json()["code"]

    @pytest.mark.parametrize("who", ["anonymous", "viewer", "trader", "other tenant"])
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("DELETE", "/keys/{key}"),
            ("PATCH", "/members/{member}"),
            ("DELETE", "/members/{member}"),
        ],
    )
    def test_a_refusal_leaves_everything_as_it_was(
        self,
        people: People,
        browser: Browser,
        ids: dict[str, UUID],
        alice: Tenant,
        bob: Tenant,
        method: str,
        path: str,
        who: str,
    ) -> None:
        before = [audit.head(tenant) for tenant in (alice, bob)]

        send(browser(people[who]), method, path.format(**ids), {"role": "owner"})

        assert [audit.head(tenant) for tenant in (alice, bob)] == before
        with acting_for(alice):
            assert ApiKey.objects.get(pk=ids["key"]).revoked_at is None
            assert Membership.objects.get(pk=ids["member"]).role == "viewer"


class TestMe:
    def test_says_who_where_and_what(self, alice: Tenant, trader: User, browser: Browser) -> None:
        body = send(browser(trader), "GET", "/me").json()

        assert body == {
            "user": {"id": trader.pk, "email": trader.email, "name": "", "time_zone": "UTC"},
            "tenant": {"id": str(alice.pk), "name": alice.name, "role": "trader"},
            "role": "trader",
            "scopes": ["read", "trade"],
            "via": "session",
            "tenants": [{"id": str(alice.pk), "name": alice.name, "role": "trader"}],
        }

    def test_a_key_learns_nothing_of_its_users_other_tenants(
        self, alice: Tenant, bob: Tenant, owner: User, key_of: KeyOf
    ) -> None:
        with acting_for(bob):
            Membership.objects.create(user=owner, role="viewer")

        body = send(Client(), "GET", "/me", key=key_of(owner, alice)).json()

        assert body["via"] == "key"
        assert [tenant["id"] for tenant in body["tenants"]] == [str(alice.pk)]


class TestSessions:
    def test_a_change_without_the_csrf_token_is_refused(self, alice: Tenant, owner: User) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(owner)

        response = send(client, "POST", "/keys", KEY)

        assert response.status_code == 403
        with acting_for(alice):
            assert not ApiKey.objects.exists()

    def test_with_it_it_is_done(self, alice: Tenant, owner: User) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(owner)
        token = "a" * 32
        client.cookies["csrf"] = token

        assert send(client, "POST", "/keys", KEY, **{"X-CSRFToken": token}).status_code == 201

    def test_a_key_needs_none(self, alice: Tenant, owner: User, key_of: KeyOf) -> None:
        client = Client(enforce_csrf_checks=True)

        response = send(client, "POST", "/keys", KEY, key=key_of(owner, alice, "manage", "read"))

        assert response.status_code == 201


class TestKeys:
    def test_the_secret_is_in_this_answer_and_opens_the_door(
        self, alice: Tenant, owner: User, browser: Browser
    ) -> None:
        response = send(browser(owner), "POST", "/keys", KEY)

        secret = response.json()["secret"]
        assert response["Cache-Control"] == "no-store"
        assert send(Client(), "GET", "/me", key=secret).json()["scopes"] == ["read"]
        assert secret not in send(browser(owner), "GET", "/keys").content.decode()

    def test_one_sees_ones_own_and_an_owner_all(
        self, alice: Tenant, owner: User, trader: User, browser: Browser, key_of: KeyOf
    ) -> None:
        key_of(owner, alice)
        key_of(trader, alice)

        def seen(user: User) -> list[str]:
            return [key["user"] for key in send(browser(user), "GET", "/keys").json()["data"]]

        assert seen(trader) == [trader.email]
        assert seen(owner) == [trader.email, owner.email]

    def test_nobody_sees_another_tenants(
        self, alice: Tenant, owner: User, other: User, browser: Browser, key_of: KeyOf
    ) -> None:
        key_of(owner, alice)

        assert send(browser(other), "GET", "/keys").json()["data"] == []

    def test_a_key_without_manage_makes_no_keys(
        self, alice: Tenant, owner: User, key_of: KeyOf
    ) -> None:
        response = send(Client(), "POST", "/keys", KEY, key=key_of(owner, alice, "read", "trade"))

        assert (response.status_code, response.json()["code"]) == (403, "missing_scope")
        with acting_for(alice):
            assert ApiKey.objects.count() == 1

    def test_a_key_gives_no_more_than_it_has(
        self, alice: Tenant, owner: User, key_of: KeyOf
    ) -> None:
        response = send(
            Client(),
            "POST",
            "/keys",
            {**KEY, "scopes": ["trade"]},
            key=key_of(owner, alice, "read", "manage"),
        )

        assert (response.status_code, response.json()["code"]) == (422, "key_beyond_role")

    @pytest.mark.parametrize(
        "changes",
        [
            {"scopes": []},
            {"scopes": ["withdraw"]},
            {"name": ""},
            {"name": "x" * 81},
            {"expires_at": "2020-01-01T00:00:00Z"},
            {"expires_at": "tomorrow"},
        ],
    )
    def test_nonsense_is_refused_and_nothing_is_written(
        self, alice: Tenant, owner: User, browser: Browser, changes: dict[str, Any]
    ) -> None:
        assert send(browser(owner), "POST", "/keys", {**KEY, **changes}).status_code == 422
        with acting_for(alice):
            assert not ApiKey.objects.exists()

    def test_a_repeated_request_makes_one_key_and_tells_its_secret_once(
        self, alice: Tenant, owner: User, browser: Browser
    ) -> None:
        client = browser(owner)
        first, again = (
            send(client, "POST", "/keys", KEY, **{"Idempotency-Key": "k1"}) for _ in range(2)
        )

        assert again["Idempotency-Replayed"] == "true"
        assert again["Idempotency-Withheld"] == "secret"
        assert again.json() == {**first.json(), "secret": None}
        with acting_for(alice):
            assert ApiKey.objects.count() == 1

    def test_paging(self, alice: Tenant, owner: User, browser: Browser, key_of: KeyOf) -> None:
        for _ in range(3):
            key_of(owner, alice)

        first = send(browser(owner), "GET", "/keys?limit=2").json()
        cursor = first["pagination"]["next_cursor"]
        second = send(browser(owner), "GET", f"/keys?limit=2&cursor={cursor}").json()

        assert [len(page["data"]) for page in (first, second)] == [2, 1]
        assert second["pagination"] == {"limit": 2, "has_more": False, "next_cursor": None}


class TestMembers:
    def test_an_owner_adds_one_who_signed_up(
        self, alice: Tenant, bob: Tenant, owner: User, other: User, browser: Browser
    ) -> None:
        EmailAddress.objects.update_or_create(
            user=other, email=other.email, defaults={"verified": True}
        )

        response = send(
            browser(owner), "POST", "/members", {"email": other.email, "role": "viewer"}
        )

        assert response.status_code == 201
        assert response.json()["email"] == other.email
        assert len(send(browser(owner), "GET", "/members").json()["data"]) == 2

    def test_the_last_owner_stays(self, alice: Tenant, owner: User, browser: Browser) -> None:
        with acting_for(alice):
            own = Membership.objects.get(user=owner)

        responses = [
            send(browser(owner), "PATCH", f"/members/{own.pk}", {"role": "viewer"}),
            send(browser(owner), "DELETE", f"/members/{own.pk}"),
        ]

        assert [(r.status_code, r.json()["code"]) for r in responses] == [(409, "last_owner")] * 2
        with acting_for(alice):
            assert Membership.objects.get(user=owner).role == "owner"

    def test_an_unknown_role_is_refused(
        self, owner: User, browser: Browser, ids: dict[str, UUID]
    ) -> None:
        response = send(browser(owner), "PATCH", f"/members/{ids['member']}", {"role": "king"})

        assert response.status_code == 422


class TestSwitch:
    def test_the_session_continues_in_the_other_tenant(
        self, alice: Tenant, bob: Tenant, owner: User, browser: Browser
    ) -> None:
        with acting_for(bob):
            Membership.objects.create(user=owner, role="viewer")
        client = browser(owner)

        switched = send(client, "POST", "/tenants/switch", {"tenant_id": str(bob.pk)})

        assert switched.json()["tenant"]["id"] == str(bob.pk)
        assert send(client, "GET", "/me").json()["role"] == "viewer"

    def test_not_into_a_tenant_of_others(
        self, alice: Tenant, bob: Tenant, owner: User, browser: Browser
    ) -> None:
        client = browser(owner)

        response = send(client, "POST", "/tenants/switch", {"tenant_id": str(bob.pk)})

        assert response.status_code == 404
        assert send(client, "GET", "/me").json()["tenant"]["id"] == str(alice.pk)

    def test_not_with_a_key(self, alice: Tenant, bob: Tenant, owner: User, key_of: KeyOf) -> None:
        with acting_for(bob):
            Membership.objects.create(user=owner, role="viewer")

        response = send(
            Client(),
            "POST",
            "/tenants/switch",
            {"tenant_id": str(bob.pk)},
            key=key_of(owner, alice),
        )

        assert (response.status_code, response.json()["code"]) == (403, "missing_scope")


class TestToken:
    @pytest.fixture
    def credentials(self, alice: Tenant, owner: User) -> dict[str, str]:
        cache.clear()
        owner.set_password("a long enough pass phrase")
        owner.save()
        EmailAddress.objects.update_or_create(
            user=owner, email=owner.email, defaults={"verified": True, "primary": True}
        )
        return {"email": owner.email, "password": "a long enough pass phrase"}

    def test_log_in_ask_and_log_out(self, credentials: dict[str, str], owner: User) -> None:
        client = Client()

        answer = send(client, "POST", "/auth/token", credentials)
        token = answer.json()["token"]

        assert (answer.status_code, answer["Cache-Control"]) == (201, "no-store")
        assert send(client, "GET", "/me", key=token).json()["user"]["email"] == owner.email
        assert send(client, "DELETE", "/auth/token", key=token).status_code == 204
        refused = send(client, "GET", "/me", key=token)
        assert (refused.status_code, refused.json()["code"]) == (401, "revoked_key")

    def test_an_old_token_does_not_hinder_a_new_log_in(self, credentials: dict[str, str]) -> None:
        assert send(Client(), "POST", "/auth/token", credentials, key="pl_old").status_code == 201

    def test_wrong_ones_are_refused_and_nothing_is_written(
        self, credentials: dict[str, str], alice: Tenant
    ) -> None:
        response = send(Client(), "POST", "/auth/token", {**credentials, "password": "x"})

        assert (response.status_code, response.json()["code"]) == (401, "wrong_credentials")
        with acting_for(alice):
            assert not ApiKey.objects.exists()

    def test_the_sixth_failure_is_too_many(self, credentials: dict[str, str]) -> None:
        wrong = {**credentials, "password": "x"}

        answers = [send(Client(), "POST", "/auth/token", wrong).status_code for _ in range(6)]

        assert answers == [401] * 5 + [429]


class TestAudit:
    def test_lists_newest_first_with_who_did_it(
        self, alice: Tenant, owner: User, browser: Browser, key_of: KeyOf
    ) -> None:
        secret = key_of(owner, alice, "read", "manage")
        send(Client(), "POST", "/keys", KEY, key=secret)

        rows = send(browser(owner), "GET", "/audit").json()["data"]

        assert [row["sequence"] for row in rows] == list(range(len(rows), 0, -1))
        assert (rows[0]["action"], rows[0]["user"]) == ("api_key.created", owner.email)
        assert rows[0]["api_key"] == secret[:10]

    def test_shows_no_row_of_another_tenant(
        self, alice: Tenant, owner: User, other: User, browser: Browser, key_of: KeyOf
    ) -> None:
        key_of(owner, alice)

        rows = send(browser(other), "GET", "/audit").json()["data"]

        assert all(row["user"] in {None, other.email} for row in rows)


def test_the_schema_names_the_ways_to_authenticate() -> None:
    generator: Any = SchemaGenerator
    schema = generator(patterns=[path("api/v1/", include(urls.api_urlpatterns))]).get_schema(
        public=True
    )

    assert set(schema["components"]["securitySchemes"]) == {"apiKey", "session"}
    assert schema["paths"]["/api/v1/me"]["get"]["security"] == [{"apiKey": []}, {"session": []}]
