"""Every address of the web process: pages at the root, the API under /api/v1."""

from importlib import import_module
from itertools import chain

from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from apps.accounts.middleware import outside_tenant
from apps.core.health import live, ready

ROOMS = ["accounts", "marketdata", "webhooks", "trading", "signals", "portal"]


def api() -> list[URLPattern | URLResolver]:
    rooms = [import_module(f"apps.{room}.urls") for room in ROOMS]
    return list(chain.from_iterable(room.api_urlpatterns for room in rooms))


handler400 = "apps.portal.errors.bad_request"
handler403 = "apps.portal.errors.permission_denied"
handler404 = "apps.portal.errors.not_found"
handler500 = "apps.portal.errors.server_error"

urlpatterns = [
    path("health/live", outside_tenant(live)),
    path("health/ready", outside_tenant(ready)),
    path("account/", include("allauth.urls")),
    path(
        "api/v1/",
        include(
            [
                path("schema/", outside_tenant(SpectacularAPIView.as_view()), name="api-schema"),
                path(
                    "docs/",
                    outside_tenant(SpectacularSwaggerView.as_view(url_name="api-schema")),
                    name="api-docs",
                ),
                *api(),
            ]
        ),
    ),
    path("settings/", include("apps.accounts.urls")),
    path("", include("apps.portal.urls")),
]
