"""What allauth does our way: a sign-up makes a tenant, and links in mails lead to our address."""

import base64
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.forms import BaseForm
from django.http import HttpRequest
from django.utils import timezone
from django.utils.encoding import force_bytes

from apps.accounts import services
from apps.accounts.models import User
from apps.core.ids import uuid7
from apps.core.tenancy import acting_for


@dataclass(frozen=True, slots=True)
class Site:
    """What mails call this service and where they say it is."""

    name: str
    domain: str


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    def save_user(
        self, request: HttpRequest, user: User, form: BaseForm, commit: bool = True
    ) -> User:
        super().save_user(request, user, form, commit=False)
        if commit:
            tenant_id = uuid7()
            with acting_for(tenant_id):
                services.found_tenant(user=user, tenant_id=tenant_id, now=timezone.now())
        return user

    def format_email_subject(self, subject: str) -> str:
        return f"PineLab: {subject}"

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a mail whose links and names do not come from the request's Host header.

        Otherwise whoever asks for someone's password reset could choose where its link leads.
        """
        ours = {
            name: at_our_address(value) if name.endswith("_url") else value
            for name, value in context.items()
        }
        site = Site(name="PineLab", domain=urlsplit(settings.WEB_URL).netloc)
        super().send_mail(template_prefix, email, {**ours, "current_site": site})


class MfaAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Keep second factors' secrets unreadable to whoever sees only the database."""

    def encrypt(self, text: str) -> str:
        return _cipher(settings.SECRET_KEY).encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        return MultiFernet([_cipher(key) for key in keys]).decrypt(encrypted_text).decode()


def _cipher(secret: str | bytes) -> Fernet:
    """A cipher of this installation's own: HKDF-SHA256 of its secret key (RFC 5869)."""
    key = HKDF(SHA256(), length=32, salt=None, info=b"pinelab second factor").derive(
        force_bytes(secret)
    )
    return Fernet(base64.urlsafe_b64encode(key))


def at_our_address(url: str) -> str:
    """The same path at ``settings.WEB_URL``."""
    ours, given = urlsplit(settings.WEB_URL), urlsplit(url)
    path = ours.path.rstrip("/") + given.path
    return urlunsplit((ours.scheme, ours.netloc, path, given.query, given.fragment))
