from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from allauth.account.models import EmailAddress
from django.test import Client
from django.urls import reverse

from apps.accounts import audit, identity, urls
from apps.accounts.models import ApiKey, Membership, Tenant, User
from apps.core.tenancy import acting_for

People = dict[str, User | None]
Browser = Callable[[User | None], Client]

# The status of GET and of POST for each person; 302 of the anonymous leads to the log-in.
PEOPLE = ["anonymous", "viewer", "trader", "owner", "other tenant"]
NOBODY = str(uuid4())
MATRIX = [
    ("settings", (), [302, 302, 302, 302, 302], [302, 302, 302, 302, 302]),
    ("settings-profile", (), [302, 200, 200, 200, 200], [302, 200, 200, 200, 200]),
    ("settings-keys", (), [302, 200, 200, 200, 200], [302, 200, 200, 200, 200]),
    ("settings-key-revoke", ("key",), [302, 404, 404, 200, 404], [302, 404, 404, 302, 404]),
    ("settings-members", (), [302, 200, 200, 200, 200], [302, 403, 403, 200, 200]),
    ("settings-member-role", ("member",), [302, 403, 403, 405, 405], [302, 403, 403, 302, 302]),
    ("settings-member-remove", ("member",), [302, 403, 403, 200, 404], [302, 403, 403, 302, 404]),
    ("settings-audit", (), [302, 403, 403, 200, 200], [302, 403, 403, 405, 405]),
    ("settings-tenants", ("tenant",), [302, 405, 405, 405, 405], [302, 302, 302, 302, 404]),
]


@pytest.fixture
def ids(alice: Tenant, owner: User, charlie: User, key_of: Callable[..., str]) -> dict[str, UUID]:
    key_of(owner, alice)
    with acting_for(alice):
        return {
            "key": ApiKey.objects.get().pk,
            "member": Membership.objects.get(user=charlie).pk,
            "tenant": alice.pk,
        }


class TestWhoMayWhat:
    def test_every_page_is_in_the_matrix(self) -> None:
        assert {pattern.name for pattern in urls.urlpatterns} == {row[0] for row in MATRIX}

    @pytest.mark.parametrize("who", PEOPLE)
    @pytest.mark.parametrize(("name", "args", "got", "posted"), MATRIX, ids=lambda v: str(v)[:24])
    def test_each_gets_what_they_may(
        self,
        people: People,
        browser: Browser,
        ids: dict[str, UUID],
        name: str,
        args: tuple[str, ...],
        got: list[int],
        posted: list[int],
        who: str,
    ) -> None:
        client = browser(people[who])
        url = reverse(name, args=[ids[arg] for arg in args])
        place = PEOPLE.index(who)

        assert client.get(url).status_code == got[place]
        assert client.post(url).status_code == posted[place]

    @pytest.mark.parametrize("who", ["anonymous", "viewer", "trader", "other tenant"])
    def test_nobody_else_changes_anything_of_alices(
        self,
        people: People,
        browser: Browser,
        ids: dict[str, UUID],
        alice: Tenant,
        who: str,
    ) -> None:
        before = audit.head(alice)
        client = browser(people[who])

        for name, arg in [
            ("settings-key-revoke", "key"),
            ("settings-member-role", "member"),
            ("settings-member-remove", "member"),
        ]:
            client.post(reverse(name, args=[ids[arg]]), {"role": "owner"})

        assert audit.head(alice) == before


class TestProfile:
    def test_is_saved(self, alice: Tenant, owner: User, browser: Browser) -> None:
        response = browser(owner).post(
            reverse("settings-profile"), {"name": "Al", "time_zone": "Asia/Tokyo"}
        )

        assert response.status_code == 302
        owner.refresh_from_db()
        assert (owner.name, owner.time_zone) == ("Al", "Asia/Tokyo")

    def test_an_unknown_zone_is_refused(self, alice: Tenant, owner: User, browser: Browser) -> None:
        browser(owner).post(reverse("settings-profile"), {"name": "Al", "time_zone": "Mars"})

        owner.refresh_from_db()
        assert owner.time_zone == "UTC"


class TestKeys:
    def test_a_new_key_is_shown_once_and_kept_nowhere(
        self, alice: Tenant, owner: User, browser: Browser
    ) -> None:
        client = browser(owner)
        url = reverse("settings-keys")

        made = client.post(url, {"name": "bot", "scopes": ["read"], "lifetime": "30"})

        secret = made.context["secret"]
        assert secret in made.content.decode()
        assert "no-store" in made["Cache-Control"]
        assert secret not in client.get(url).content.decode()
        assert identity.of_key(secret, now=made.context["key"].created_at).scopes == {"read"}

    @pytest.mark.parametrize(("lifetime", "days"), [("30", 30), ("never", None)])
    def test_a_new_key_expires_when_it_was_said_to(
        self, alice: Tenant, owner: User, browser: Browser, lifetime: str, days: int | None
    ) -> None:
        browser(owner).post(
            reverse("settings-keys"), {"name": "bot", "scopes": ["read"], "lifetime": lifetime}
        )

        with acting_for(alice):
            key = ApiKey.objects.get()
        assert (key.expires_at and (key.expires_at - key.created_at).days) == days

    def test_a_viewer_is_not_offered_more_and_does_not_get_it(
        self, alice: Tenant, charlie: User, browser: Browser
    ) -> None:
        client = browser(charlie)
        url = reverse("settings-keys")

        assert 'value="trade"' not in client.get(url).content.decode()
        client.post(url, {"name": "bot", "scopes": ["trade"], "lifetime": "never"})

        with acting_for(alice):
            assert not ApiKey.objects.exists()

    def test_revoking_asks_first(
        self, alice: Tenant, owner: User, browser: Browser, ids: dict[str, UUID]
    ) -> None:
        client = browser(owner)
        url = reverse("settings-key-revoke", args=[ids["key"]])

        client.get(url)
        with acting_for(alice):
            assert ApiKey.objects.get().revoked_at is None
        client.post(url)
        with acting_for(alice):
            assert ApiKey.objects.get().revoked_at is not None


class TestMembers:
    def test_an_owner_adds_changes_and_removes(
        self, alice: Tenant, bob: Tenant, owner: User, other: User, browser: Browser
    ) -> None:
        EmailAddress.objects.create(user=other, email=other.email, verified=True)
        client = browser(owner)

        def role() -> str | None:
            with acting_for(alice):
                return Membership.objects.filter(user=other).values_list("role", flat=True).first()

        client.post(reverse("settings-members"), {"email": other.email, "role": "viewer"})
        assert role() == "viewer"
        with acting_for(alice):
            member = Membership.objects.get(user=other)
        client.post(reverse("settings-member-role", args=[member.pk]), {"role": "trader"})
        assert role() == "trader"
        client.post(reverse("settings-member-remove", args=[member.pk]))
        assert role() is None

    def test_a_refusal_is_told_and_nothing_is_lost(
        self, alice: Tenant, owner: User, browser: Browser
    ) -> None:
        response = browser(owner).post(
            reverse("settings-members"), {"email": "no@example.com", "role": "viewer"}
        )

        page = response.content.decode()
        assert "Nobody has signed up" in page
        assert 'value="no@example.com"' in page

    def test_the_last_owner_stays(self, alice: Tenant, owner: User, browser: Browser) -> None:
        with acting_for(alice):
            own = Membership.objects.get(user=owner)

        response = browser(owner).post(
            reverse("settings-member-remove", args=[own.pk]), follow=True
        )

        assert "only owner" in response.content.decode()
        assert identity.places_of(owner)


class TestAuditLog:
    def test_pages_follow_each_other(
        self,
        alice: Tenant,
        owner: User,
        browser: Browser,
        key_of: Callable[..., str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("apps.accounts.views.AUDIT_PAGE", 2)
        for _ in range(3):
            key_of(owner, alice)
        client = browser(owner)

        first = client.get(reverse("settings-audit"))
        second = client.get(first.context["next_url"])

        assert [event.sequence for event in first.context["events"]] == [3, 2]
        assert [event.sequence for event in second.context["events"]] == [1]
        assert (second.context["first_url"], second.context["next_url"]) == (
            reverse("settings-audit"),
            "",
        )

    @pytest.mark.parametrize("before", ["x", "-1", "9" * 40, "\u00b2"])
    def test_a_page_that_does_not_exist_is_the_first(
        self, alice: Tenant, owner: User, browser: Browser, before: str
    ) -> None:
        response = browser(owner).get(reverse("settings-audit"), {"before": before})

        assert response.status_code == 200


class TestSwitchTenant:
    def test_the_session_continues_there(
        self, alice: Tenant, bob: Tenant, owner: User, browser: Browser
    ) -> None:
        with acting_for(bob):
            Membership.objects.create(user=owner, role="viewer")
        client = browser(owner)

        client.post(reverse("settings-tenants", args=[bob.pk]))

        assert bob.name in client.get(reverse("settings-members")).content.decode()
