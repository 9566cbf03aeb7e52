"""What every page knows: whose it is, where one can go, whether trading is halted."""

from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse

from apps.accounts.identity import Identity, attached_to
from apps.accounts.models import Scope
from apps.core.tenancy.context import active_scope
from apps.portal import selectors


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of the navigation, in the order of importance.

    Attributes:
        key: names the icon; letter is pressed after g.
        under: the first parts of the addresses that belong to it.
    """

    key: str
    label: str
    name: str
    letter: str
    under: tuple[str, ...]
    short: str = ""


PLACES: Final = (
    Place("home", "Home", "home", "h", ("start",)),
    Place("signals", "Signals", "signals", "s", ("signals", "decisions")),
    Place("positions", "Positions", "positions", "p", ("positions", "orders")),
    Place("trades", "Trades", "trades", "t", ("trades",)),
    Place("charts", "Charts", "charts", "c", ("charts",)),
    Place("strategies", "Strategies", "deployments", "d", ("deployments", "accounts")),
    Place("webhooks", "Webhooks", "webhooks", "w", ("webhooks", "alerts")),
    Place("settings", "Settings", "settings", "e", ("settings",)),
)


def page(request: HttpRequest) -> dict[str, Any]:
    """One query at most; nothing at all where there is no tenant, as on an error page."""
    identity = attached_to(request)
    if identity is None or not active_scope():
        return {}
    frame = getattr(request, "frame", None) or selectors.frame()
    return {
        "tenant": {"id": identity.tenant_id, "name": identity.tenant_name},
        "tenants": [
            {"name": other.tenant_name, "url": reverse("settings-tenants", args=[other.tenant_id])}
            for other in identity.others
        ],
        "nav": _nav(request.path),
        "urls": _urls(identity),
        "halted": frame.is_halted,
        "halted_at": frame.halted_at,
        "live_seq": frame.sequence,
        # UTC is what nobody chose yet: then the browser knows better.
        "zone": "" if identity.user.time_zone == "UTC" else identity.user.time_zone,
    }


def _nav(path: str) -> list[dict[str, Any]]:
    first = path.strip("/").partition("/")[0]
    return [
        {
            "key": place.key,
            "label": place.label,
            "short": place.short,
            "letter": place.letter,
            "url": reverse(place.name),
            "active": first in place.under or (path == "/" and place.key == "home"),
        }
        for place in PLACES
    ]


def _urls(identity: Identity) -> dict[str, str]:
    urls = {
        "live_ticket": reverse("api-live-ticket"),
        "search": reverse("search"),
        "settings": reverse("settings"),
    }
    if identity.may(Scope.TRADE):
        urls |= {"halt": reverse("halt"), "resume": reverse("resume")}
    return urls
