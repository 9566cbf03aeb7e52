from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.db import DatabaseError, connections

from apps.accounts import identity
from apps.accounts.models import ApiKey, Membership, Tenant, User
from apps.core.tenancy import acting_for, signed_user
from apps.core.tenancy.context import sign


class TestPlacesOf:
    def test_lists_ones_own_tenants_only(self, alice: Tenant, bob: Tenant, charlie: User) -> None:
        assert [(p.tenant_id, p.role) for p in identity.places_of(charlie)] == [
            (alice.pk, "viewer")
        ]

    @pytest.mark.parametrize("forged", ["unsigned", "tenant", "edited"])
    def test_the_database_wants_proof_of_the_log_in(
        self, alice: Tenant, owner: User, charlie: User, forged: str
    ) -> None:
        context = {
            "unsigned": f"user:{owner.pk}",
            "tenant": sign(f"tenant:{alice.pk}"),
            "edited": signed_user(charlie.pk).replace(f":{charlie.pk}|", f":{owner.pk}|"),
        }[forged]

        with (
            pytest.raises(DatabaseError, match="context"),
            connections["default"].cursor() as cursor,
        ):
            cursor.execute("SELECT * FROM app.memberships_of(%s)", [context])


class TestOfSession:
    def test_without_a_choice_it_is_the_oldest_membership(
        self, alice: Tenant, bob: Tenant, other: User
    ) -> None:
        with acting_for(alice):
            Membership.objects.create(user=other, role="viewer")

        found = identity.of_session(other)

        assert found
        assert (found.tenant_id, found.role) == (bob.pk, "owner")

    def test_the_chosen_one_where_one_is_a_member(
        self, alice: Tenant, bob: Tenant, other: User
    ) -> None:
        with acting_for(alice):
            Membership.objects.create(user=other, role="viewer")

        found = identity.of_session(other, chosen=alice.pk)

        assert found
        assert (found.tenant_name, sorted(found.scopes)) == (alice.name, ["read"])

    def test_a_choice_that_is_not_ones_own_is_ignored(
        self, alice: Tenant, bob: Tenant, other: User
    ) -> None:
        found = identity.of_session(other, chosen=alice.pk)

        assert found
        assert found.tenant_id == bob.pk

    def test_without_a_membership_there_is_none(self, database: None) -> None:
        assert identity.of_session(User.objects.create_user("x@example.com")) is None


class TestOfKey:
    def test_finds_user_tenant_and_scopes(
        self, alice: Tenant, trader: User, now: datetime, key_of: Callable[..., str]
    ) -> None:
        found = identity.of_key(key_of(trader, alice, "read", "trade"), now=now)

        assert (found.user, found.tenant_id, found.via) == (trader, alice.pk, "key")
        assert found.scopes == {"read", "trade"}

    def test_scopes_are_cut_to_what_the_role_allows_now(
        self, alice: Tenant, trader: User, now: datetime, key_of: Callable[..., str]
    ) -> None:
        secret = key_of(trader, alice, "read", "trade")
        with acting_for(alice):
            Membership.objects.filter(user=trader).update(role="viewer")

        assert identity.of_key(secret, now=now).scopes == {"read"}

    def test_a_key_does_not_get_what_only_its_user_may(
        self, alice: Tenant, owner: User, now: datetime, key_of: Callable[..., str]
    ) -> None:
        assert identity.of_key(key_of(owner, alice), now=now).scopes == {"read"}

    def test_an_unknown_one_is_invalid(self, database: None, now: datetime) -> None:
        with pytest.raises(identity.InvalidKey):
            identity.of_key("pl_unknown", now=now)

    def test_it_expires_at_its_very_time(
        self, alice: Tenant, owner: User, now: datetime, key_of: Callable[..., str]
    ) -> None:
        expires_at = now + timedelta(hours=1)
        secret = key_of(owner, alice, expires_at=expires_at)

        assert identity.of_key(secret, now=expires_at - timedelta(microseconds=1))
        with pytest.raises(identity.ExpiredKey):
            identity.of_key(secret, now=expires_at)

    def test_a_former_members_key_is_revoked(
        self, alice: Tenant, trader: User, now: datetime, key_of: Callable[..., str]
    ) -> None:
        secret = key_of(trader, alice)
        with acting_for(alice):
            Membership.objects.filter(user=trader).delete()

        with pytest.raises(identity.RevokedKey):
            identity.of_key(secret, now=now)

    def test_an_inactive_users_key_is_revoked(
        self, alice: Tenant, trader: User, now: datetime, key_of: Callable[..., str]
    ) -> None:
        secret = key_of(trader, alice)
        User.objects.filter(pk=trader.pk).update(is_active=False)

        with pytest.raises(identity.RevokedKey):
            identity.of_key(secret, now=now)

    def test_its_use_is_noted_at_most_once_a_minute(
        self, alice: Tenant, trader: User, now: datetime, key_of: Callable[..., str]
    ) -> None:
        secret = key_of(trader, alice)

        def last_used(at: datetime) -> datetime | None:
            identity.of_key(secret, now=at)
            with acting_for(alice):
                return ApiKey.objects.get().last_used_at

        assert last_used(now) == now
        assert last_used(now + timedelta(seconds=60)) == now
        assert last_used(now + timedelta(seconds=61)) == now + timedelta(seconds=61)


class TestChosenIn:
    def test_remembers_the_choice(self) -> None:
        tenant_id = uuid4()
        session: dict[str, str] = {}

        identity.choose_in(session, tenant_id)  # type: ignore[arg-type]

        assert identity.chosen_in(session) == tenant_id  # type: ignore[arg-type]
