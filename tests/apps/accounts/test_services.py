from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.core.cache import cache
from django.db import IntegrityError, connections, transaction
from redis.exceptions import ConnectionError as RedisGone

import pinelab.settings
from apps.accounts import attempts, audit, identity, services
from apps.accounts.audit import Actor
from apps.accounts.models import ApiKey, Membership, Tenant, User
from apps.core.errors import Invalid, NotFound
from apps.core.tenancy import acting_for

PASSWORD = "a long enough pass phrase"
ADDRESS = "203.0.113.7"

Audited = Callable[[Tenant], list[str]]
MembershipOf = Callable[[User, Tenant], Membership]


@pytest.fixture
def newcomer(database: None, now: datetime) -> tuple[User, Tenant]:
    return services.sign_up(
        email="Dora@Example.com", password=PASSWORD, now=now, email_is_verified=True
    )


class TestSignUp:
    def test_makes_a_tenant_with_its_owner(
        self, newcomer: tuple[User, Tenant], audited: Audited
    ) -> None:
        user, tenant = newcomer

        assert user.email == "dora@example.com"
        assert [(p.tenant_id, p.role) for p in identity.places_of(user)] == [(tenant.pk, "owner")]
        assert audited(tenant) == ["user.signed_up"]

    def test_the_password_is_stored_by_argon2(
        self, database: None, now: datetime, settings: Any
    ) -> None:
        # As the service has it: the tests' own hasher is a quick one.
        settings.PASSWORD_HASHERS = pinelab.settings.PASSWORD_HASHERS

        user, _ = services.sign_up(email="eve@example.com", password=PASSWORD, now=now)

        assert user.password.startswith("argon2")
        assert user.check_password(PASSWORD)

    def test_a_taken_address_is_refused_and_nothing_is_written(
        self, newcomer: tuple[User, Tenant], now: datetime
    ) -> None:
        with pytest.raises(services.EmailTaken):
            services.sign_up(email="DORA@example.com", password=PASSWORD, now=now)

        assert User.objects.count() == 1

    @pytest.mark.parametrize("password", ["short", "password1234", "eve@example.com"])
    def test_a_weak_password_is_refused_and_nothing_is_written(
        self, database: None, now: datetime, password: str
    ) -> None:
        with pytest.raises(services.WeakPassword):
            services.sign_up(email="eve@example.com", password=password, now=now)

        assert not User.objects.exists()

    def test_if_the_tenant_cannot_be_made_neither_is_the_user(
        self, database: None, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(**_: object) -> None:
            raise RuntimeError("no")

        monkeypatch.setattr(audit, "record", fail)

        with pytest.raises(RuntimeError):
            services.sign_up(email="eve@example.com", password=PASSWORD, now=now)

        assert not User.objects.exists()


class TestAddMember:
    def test_a_user_who_confirmed_their_address_gets_in(
        self,
        alice: Tenant,
        owner: User,
        newcomer: tuple[User, Tenant],
        now: datetime,
        audited: Audited,
    ) -> None:
        with acting_for(alice):
            services.add_member(
                email=" Dora@example.com", role="trader", by=Actor(owner.pk), now=now
            )

        assert [p.role for p in identity.places_of(newcomer[0])] == ["owner", "trader"]
        assert audited(alice)[-1] == "member.added"

    def test_an_unconfirmed_address_is_refused_and_nothing_is_written(
        self,
        alice: Tenant,
        owner: User,
        newcomer: tuple[User, Tenant],
        now: datetime,
        audited: Audited,
    ) -> None:
        EmailAddress.objects.update(verified=False)
        before = audited(alice)

        with pytest.raises(services.NoSuchUser), acting_for(alice):
            services.add_member(
                email="dora@example.com", role="trader", by=Actor(owner.pk), now=now
            )

        assert len(identity.places_of(newcomer[0])) == 1
        assert audited(alice) == before

    def test_a_member_is_not_added_twice(
        self, alice: Tenant, owner: User, newcomer: tuple[User, Tenant], now: datetime
    ) -> None:
        def add() -> None:
            with acting_for(alice):
                services.add_member(
                    email="dora@example.com", role="viewer", by=Actor(owner.pk), now=now
                )

        add()
        with pytest.raises(services.AlreadyMember):
            add()

    def test_the_database_knows_no_other_roles(self, alice: Tenant, owner: User) -> None:
        with pytest.raises(IntegrityError), acting_for(alice):
            Membership.objects.filter(user=owner).update(role="king")


class TestChangeRole:
    def test_a_role_changes_and_the_log_says_from_what(
        self,
        alice: Tenant,
        owner: User,
        charlie: User,
        now: datetime,
        membership_of: MembershipOf,
    ) -> None:
        member = membership_of(charlie, alice)

        with acting_for(alice):
            services.change_role(
                membership_id=member.pk, role="trader", by=Actor(owner.pk), now=now
            )

        assert membership_of(charlie, alice).role == "trader"

    def test_the_last_owner_stays_one(
        self,
        alice: Tenant,
        owner: User,
        now: datetime,
        membership_of: MembershipOf,
        audited: Audited,
    ) -> None:
        before = audited(alice)

        with pytest.raises(services.LastOwner), acting_for(alice):
            services.change_role(
                membership_id=membership_of_open(owner).pk,
                role="viewer",
                by=Actor(owner.pk),
                now=now,
            )

        assert membership_of(owner, alice).role == "owner"
        assert audited(alice) == before

    def test_two_owners_who_demote_each_other_leave_one(
        self, alice: Tenant, owner: User, trader: User, now: datetime, membership_of: MembershipOf
    ) -> None:
        with acting_for(alice):
            Membership.objects.filter(user=trader).update(role="owner")
        ids = [membership_of(user, alice).pk for user in (owner, trader)]

        def demote(membership_id: Any) -> bool:
            try:
                with acting_for(alice):
                    services.change_role(
                        membership_id=membership_id, role="viewer", by=Actor(), now=now
                    )
            except services.LastOwner:
                return False
            finally:
                connections.close_all()
            return True

        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(demote, ids))

        assert sorted(done) == [False, True]
        with acting_for(alice):
            assert Membership.objects.filter(role="owner").count() == 1

    def test_another_tenants_member_is_not_found(
        self,
        alice: Tenant,
        bob: Tenant,
        owner: User,
        other: User,
        now: datetime,
        membership_of: MembershipOf,
    ) -> None:
        theirs = membership_of(other, bob)

        with pytest.raises(NotFound), acting_for(alice):
            services.change_role(
                membership_id=theirs.pk, role="viewer", by=Actor(owner.pk), now=now
            )

        assert membership_of(other, bob).role == "owner"


class TestRemoveMember:
    def test_their_keys_are_revoked_with_them(
        self,
        alice: Tenant,
        owner: User,
        trader: User,
        now: datetime,
        key_of: Callable[..., str],
        membership_of: MembershipOf,
        audited: Audited,
    ) -> None:
        key_of(trader, alice)

        with acting_for(alice):
            services.remove_member(
                membership_id=membership_of_open(trader).pk, by=Actor(owner.pk), now=now
            )

        assert identity.places_of(trader) == []
        with acting_for(alice):
            assert ApiKey.objects.get(user=trader).revoked_at == now
        assert audited(alice)[-1] == "member.removed"

    def test_the_last_owner_cannot_be_removed(
        self, alice: Tenant, owner: User, now: datetime
    ) -> None:
        with pytest.raises(services.LastOwner), acting_for(alice):
            services.remove_member(
                membership_id=membership_of_open(owner).pk, by=Actor(owner.pk), now=now
            )

        assert identity.places_of(owner)


class TestCreateApiKey:
    def test_only_the_digest_is_stored(self, alice: Tenant, owner: User, now: datetime) -> None:
        with acting_for(alice):
            key, secret = services.create_api_key(
                user=owner, name="bot", scopes=["trade", "read"], expires_at=None, now=now
            )
            stored = ApiKey.objects.get(pk=key.pk)

        assert secret.startswith("pl_")
        assert len(secret) == len("pl_") + 43
        assert bytes(stored.digest) == sha256(secret.encode()).digest()
        assert stored.scopes == ["read", "trade"]
        assert secret not in repr(stored.__dict__)

    def test_the_log_does_not_hold_the_secret(
        self, alice: Tenant, owner: User, now: datetime, key_of: Callable[..., str]
    ) -> None:
        secret = key_of(owner, alice)

        with acting_for(alice), connections["default"].cursor() as cursor:
            cursor.execute("SELECT string_agg(e::text, ' ') FROM accounts_auditevent e")
            assert secret not in cursor.fetchone()[0]

    @pytest.mark.parametrize(
        ("options", "refusal"),
        [
            ({"scopes": ["trade"]}, services.KeyBeyondRole),
            ({"scopes": ["read"], "within": []}, services.KeyBeyondRole),
            ({"scopes": []}, Invalid),
            ({"scopes": ["read"], "expires_at": "now"}, Invalid),
        ],
    )
    def test_what_cannot_be_is_refused_and_nothing_is_written(
        self,
        alice: Tenant,
        charlie: User,
        now: datetime,
        options: dict[str, Any],
        refusal: type[Exception],
    ) -> None:
        expires_at = now if options.pop("expires_at", None) else None

        with pytest.raises(refusal), acting_for(alice):
            services.create_api_key(
                user=charlie, name="x", expires_at=expires_at, now=now, **options
            )

        with acting_for(alice):
            assert not ApiKey.objects.exists()

    def test_a_stranger_gets_no_key(self, alice: Tenant, other: User, now: datetime) -> None:
        with pytest.raises(NotFound), acting_for(alice):
            services.create_api_key(user=other, name="x", scopes=["read"], expires_at=None, now=now)

    @pytest.mark.parametrize("scopes", [[], ["read", "withdraw"]])
    def test_the_database_knows_no_other_scopes(
        self, alice: Tenant, owner: User, key_of: Callable[..., str], scopes: list[str]
    ) -> None:
        key_of(owner, alice)

        with pytest.raises(IntegrityError), acting_for(alice):
            ApiKey.objects.update(scopes=scopes)

    def test_the_database_refuses_a_digest_twice(
        self, alice: Tenant, owner: User, key_of: Callable[..., str]
    ) -> None:
        secret = key_of(owner, alice)

        with pytest.raises(IntegrityError), acting_for(alice):
            ApiKey.objects.create(
                user=owner, name="x", prefix="x", digest=identity.digest(secret), scopes=["read"]
            )


class TestRevokeApiKey:
    def test_it_opens_nothing_any_more_and_says_so_once(
        self,
        alice: Tenant,
        owner: User,
        now: datetime,
        key_of: Callable[..., str],
        audited: Audited,
    ) -> None:
        secret = key_of(owner, alice)
        key_id = identity.of_key(secret, now=now).key_id
        assert key_id

        for _ in range(2):
            with acting_for(alice):
                services.revoke_api_key(key_id=key_id, by=Actor(owner.pk), now=now)

        with pytest.raises(identity.RevokedKey):
            identity.of_key(secret, now=now)
        assert audited(alice).count("api_key.revoked") == 1

    def test_another_tenants_key_is_not_found_and_stays(
        self,
        alice: Tenant,
        bob: Tenant,
        owner: User,
        other: User,
        now: datetime,
        key_of: Callable[..., str],
    ) -> None:
        secret = key_of(other, bob)
        key_id = identity.of_key(secret, now=now).key_id
        assert key_id

        with pytest.raises(NotFound), acting_for(alice):
            services.revoke_api_key(key_id=key_id, by=Actor(owner.pk), now=now)

        assert identity.of_key(secret, now=now).tenant_id == bob.pk


class TestLogInForToken:
    @pytest.fixture(autouse=True)
    def no_attempts(self, database: None) -> Iterator[None]:
        cache.clear()
        yield
        cache.clear()

    @pytest.fixture
    def log_in(self, newcomer: tuple[User, Tenant], now: datetime) -> Callable[..., services.Token]:
        def attempt(**changes: Any) -> services.Token:
            given = {
                "email": "dora@example.com",
                "password": PASSWORD,
                "code": "",
                "device": "phone",
                "address": ADDRESS,
                "now": now,
                **changes,
            }
            return services.log_in_for_token(**given)

        return attempt

    def test_gives_a_key_of_ninety_days_with_the_roles_scopes(
        self,
        log_in: Callable[..., services.Token],
        newcomer: tuple[User, Tenant],
        now: datetime,
        audited: Audited,
    ) -> None:
        token = log_in(email=" Dora@Example.com ")

        assert token.key.expires_at == now + timedelta(days=90)
        assert identity.of_key(token.secret, now=now).scopes == {"read", "trade", "manage"}
        assert audited(newcomer[1])[-2:] == ["api_key.created", "user.logged_in"]

    @pytest.mark.parametrize(
        "changes", [{"password": "wrong"}, {"email": "nobody@example.com"}, {"password": ""}]
    )
    def test_wrong_credentials_are_refused_alike(
        self, log_in: Callable[..., services.Token], changes: dict[str, str]
    ) -> None:
        with pytest.raises(services.WrongCredentials, match="address or the password is wrong"):
            log_in(**changes)

    def test_an_inactive_user_is_refused_alike(
        self, log_in: Callable[..., services.Token], newcomer: tuple[User, Tenant]
    ) -> None:
        User.objects.update(is_active=False)

        with pytest.raises(services.WrongCredentials):
            log_in()

    def test_an_unconfirmed_address_is_refused(self, log_in: Callable[..., services.Token]) -> None:
        EmailAddress.objects.update(verified=False)

        with pytest.raises(services.EmailUnverified):
            log_in()

    def test_a_tenant_can_be_chosen(
        self,
        log_in: Callable[..., services.Token],
        newcomer: tuple[User, Tenant],
        alice: Tenant,
    ) -> None:
        with acting_for(alice):
            Membership.objects.create(user=newcomer[0], role="viewer")

        assert log_in(tenant_id=alice.pk).place.tenant_id == alice.pk

    def test_not_that_of_others(
        self, log_in: Callable[..., services.Token], alice: Tenant, audited: Audited
    ) -> None:
        before = audited(alice)

        for tenant_id in (alice.pk, uuid4()):
            with pytest.raises(NotFound):
                log_in(tenant_id=tenant_id)

        assert audited(alice) == before

    def test_with_a_second_factor_the_password_is_not_enough(
        self, log_in: Callable[..., services.Token], newcomer: tuple[User, Tenant]
    ) -> None:
        TOTP.activate(newcomer[0], generate_totp_secret())

        with pytest.raises(services.CodeRequired):
            log_in()
        with pytest.raises(services.WrongCredentials):
            log_in(code="000000")

    def test_a_code_opens_once(
        self, log_in: Callable[..., services.Token], newcomer: tuple[User, Tenant]
    ) -> None:
        secret = generate_totp_secret()
        TOTP.activate(newcomer[0], secret)
        counter = list(yield_hotp_counters_from_time())[-1]
        code = format_hotp_value(hotp_value(secret, counter))

        assert log_in(code=code).secret
        with pytest.raises(services.WrongCredentials):
            log_in(code=code)

    def test_a_recovery_code_opens_once(
        self, log_in: Callable[..., services.Token], newcomer: tuple[User, Tenant]
    ) -> None:
        TOTP.activate(newcomer[0], generate_totp_secret())
        code = RecoveryCodes.activate(newcomer[0]).get_unused_codes()[0]

        assert log_in(code=code).secret
        with pytest.raises(services.WrongCredentials):
            log_in(code=code)
        assert Authenticator.objects.count() == 2

    def test_after_five_failures_even_the_right_password_is_refused(
        self, log_in: Callable[..., services.Token]
    ) -> None:
        for _ in range(attempts.PER_ACCOUNT_AND_ADDRESS):
            with pytest.raises(services.WrongCredentials):
                log_in(password="wrong")

        with pytest.raises(attempts.TooManyAttempts):
            log_in()
        assert log_in(address="198.51.100.1").secret

    def test_a_success_starts_the_count_anew(self, log_in: Callable[..., services.Token]) -> None:
        for password in ["wrong", "wrong", "wrong", "wrong", PASSWORD, "wrong"]:
            try:
                log_in(password=password)
            except services.WrongCredentials:
                continue

        assert log_in().secret

    def test_many_addresses_do_not_help(self, log_in: Callable[..., services.Token]) -> None:
        for n in range(attempts.PER_ACCOUNT):
            attempts.count(email="dora@example.com", address=f"198.51.100.{n}")

        with pytest.raises(attempts.TooManyAttempts):
            log_in()

    def test_many_accounts_from_one_address_do_not_help(
        self, log_in: Callable[..., services.Token]
    ) -> None:
        for n in range(attempts.PER_ADDRESS):
            attempts.count(email=f"user{n}@example.com", address=ADDRESS)

        with pytest.raises(attempts.TooManyAttempts):
            log_in()

    def test_without_redis_nobody_gets_in(
        self, log_in: Callable[..., services.Token], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def gone(*_: object, **__: object) -> None:
            raise RedisGone("gone")

        monkeypatch.setattr(cache, "add", gone)

        with pytest.raises(attempts.LogInUnavailable):
            log_in()

    def test_an_attempt_whose_count_has_expired_counts_as_one(
        self, database: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def expired(*_: object, **__: object) -> None:
            raise ValueError

        monkeypatch.setattr(cache, "incr", expired)

        attempts.count(email="a@example.com", address=ADDRESS)


class TestUpdateProfile:
    def test_is_saved_and_logged(
        self, alice: Tenant, owner: User, now: datetime, audited: Audited
    ) -> None:
        with acting_for(alice):
            services.update_profile(
                user=owner, name="Al", time_zone="Europe/Berlin", by=Actor(owner.pk), now=now
            )

        assert User.objects.get(pk=owner.pk).time_zone == "Europe/Berlin"
        assert audited(alice)[-1] == "user.changed"


def membership_of_open(user: User) -> Membership:
    """A user's membership in the tenant that is open already."""
    with transaction.atomic():
        return Membership.objects.get(user=user)
