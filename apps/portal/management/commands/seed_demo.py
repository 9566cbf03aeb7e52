"""`manage.py seed_demo`: a user, a market that moves, and all that a first alert needs."""

import json
import os
import secrets
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from apps.accounts import identity
from apps.accounts import services as accounts
from apps.accounts.audit import Actor
from apps.accounts.models import User
from apps.core.tenancy import acting_for
from apps.marketdata import services as marketdata
from apps.portal import selectors, services
from apps.trading.models import Deployment
from apps.webhooks import selectors as webhook_selectors
from apps.webhooks import services as webhooks

EMAIL: Final = "demo@pinelab.local"
# Small enough that a wrong alert costs little, large enough that nobody meets them at once.
LIMITS: Final = {
    "max_order_notional": Decimal(50_000),
    "max_position_notional": Decimal(100_000),
    "max_daily_loss": Decimal("0.05"),
    "max_leverage": Decimal(2),
    "price_band": Decimal("0.1"),
}


class Command(BaseCommand):
    """Does what is missing and leaves the rest; what to log in with stands in var/demo.json."""

    help = "Set up the demo account and write how to use it to var/demo.json."

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        marketdata.ensure_demo_market(now)
        note = settings.VAR / "demo.json"
        known = json.loads(note.read_text()) if note.exists() else {}
        user, password = find_or_sign_up(known.get("password", ""), now=now)
        place = identity.places_of(user)[0]
        with acting_for(place.tenant_id):
            token = set_up(by=Actor(user.pk), now=now, is_lost=not known)
            if token is None:
                return self.stdout.write("The demo is set up already.")
            url = webhook_selectors.intake_url(token)
            curl = selectors.curl_line(url, selectors.instrument_to_try())
        keep(note, {"email": EMAIL, "password": password, "curl": curl, "url": url})
        return self.stdout.write(f"Log in as {EMAIL}; the password stands in {note}.")


def find_or_sign_up(password: str, *, now: datetime) -> tuple[User, str]:
    """The demo's user with a password that is known; a lost one is replaced."""
    user = User.objects.filter(email=EMAIL).first()
    if user is None:
        password = secrets.token_urlsafe(12)
        user, _ = accounts.sign_up(
            email=EMAIL,
            password=password,
            name="Demo",
            tenant_name="Demo",
            now=now,
            email_is_verified=True,
        )
    elif not password:
        password = secrets.token_urlsafe(12)
        user.set_password(password)
        user.save(update_fields=["password"])
    return user, password


def set_up(*, by: Actor, now: datetime, is_lost: bool) -> str | None:
    """The endpoint's token, where one had to be made; None when all is there and known."""
    deployment = Deployment.objects.filter(is_active=True).order_by("pk").first()
    if deployment is None:
        return services.start(by=by, now=now, limits=LIMITS).token
    if is_lost:
        return webhooks.rotate_endpoint(endpoint_id=deployment.source_id, now=now, by=by)
    return None


def keep(path: Path, what: dict[str, str]) -> None:
    """Write for this user alone, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(what, file, indent=2)
    draft.replace(path)
