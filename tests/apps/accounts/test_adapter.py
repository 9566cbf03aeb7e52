from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from apps.accounts import audit, identity
from apps.accounts.adapter import MfaAdapter, at_our_address
from apps.accounts.models import Tenant, User

FORM = {"email": "dora@example.com", "password1": "a long enough pass phrase"}
EVIL = "evil.example.com"


@pytest.fixture(autouse=True)
def fresh(database: None, settings: Any) -> None:
    cache.clear()
    settings.WEB_URL = "https://pinelab.example.org"
    settings.ALLOWED_HOSTS = ["*"]


class TestSignUp:
    def test_makes_a_user_with_a_tenant_of_their_own(
        self, audited: Callable[[Any], list[str]]
    ) -> None:
        response = Client().post(reverse("account_signup"), FORM)

        user = User.objects.get()
        (place,) = identity.places_of(user)
        assert response.status_code == 302
        assert (user.email, place.role, place.tenant_name) == (FORM["email"], "owner", "dora")
        assert audited(place.tenant_id) == ["user.signed_up"]

    def test_if_the_tenant_cannot_be_made_neither_is_the_user(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(**_: object) -> None:
            raise RuntimeError("no")

        monkeypatch.setattr(audit, "record", fail)

        with pytest.raises(RuntimeError):
            Client().post(reverse("account_signup"), FORM)

        assert not User.objects.exists()

    def test_the_mails_link_does_not_come_from_the_host_header(self) -> None:
        Client().post(reverse("account_signup"), FORM, headers={"Host": EVIL})

        (message,) = mail.outbox
        assert "https://pinelab.example.org/" in str(message.body)
        assert EVIL not in f"{message.subject} {message.body}"
        assert message.subject.startswith("PineLab: ")

    def test_a_taken_address_is_not_told_and_gets_no_second_user(self, alice: Tenant) -> None:
        response = Client().post(
            reverse("account_signup"),
            {**FORM, "email": "alice@example.com"},
            headers={"Host": EVIL},
        )

        assert response.status_code == 302
        assert User.objects.count() == 1
        assert EVIL not in str(mail.outbox[0].body)


class TestPasswordReset:
    @pytest.mark.parametrize("email", ["alice@example.com", "nobody@example.com"])
    def test_the_link_leads_to_our_address(self, alice: Tenant, email: str) -> None:
        Client().post(reverse("account_reset_password"), {"email": email}, headers={"Host": EVIL})

        (message,) = mail.outbox
        assert "https://pinelab.example.org/" in str(message.body)
        assert EVIL not in str(message.body)


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("http://evil/a/b?c=d#e", "https://pinelab.example.org/a/b?c=d#e"),
        ("/a/", "https://pinelab.example.org/a/"),
        ("//evil/a", "https://pinelab.example.org/a"),
    ],
)
def test_at_our_address_keeps_the_path_only(given: str, ours: str) -> None:
    assert at_our_address(given) == ours


class TestSecondFactorSecrets:
    def test_they_are_unreadable_in_the_database_and_readable_to_us(self) -> None:
        adapter = MfaAdapter()

        kept = adapter.encrypt("JBSWY3DPEHPK3PXP")

        assert "JBSWY3DPEHPK3PXP" not in kept
        assert adapter.decrypt(kept) == "JBSWY3DPEHPK3PXP"

    def test_a_rotated_key_still_reads_the_old_ones(self, settings: Any) -> None:
        kept = MfaAdapter().encrypt("JBSWY3DPEHPK3PXP")
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
        settings.SECRET_KEY = "another"

        assert MfaAdapter().decrypt(kept) == "JBSWY3DPEHPK3PXP"
