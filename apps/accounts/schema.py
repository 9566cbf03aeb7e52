"""How the API's documentation says what authenticates a request."""

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension


class IdentityScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "apps.accounts.authentication.IdentityAuthentication"
    name = ["apiKey", "session"]
    priority = 1

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[Any]]]:
        # One or the other; in one mapping they would be needed together.
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: Any) -> Any:
        return [
            {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "pl_…",
                "description": (
                    "An API key, made in the settings or by logging in at /api/v1/auth/token. "
                    "It may also be given in the header X-API-Key."
                ),
            },
            {
                "type": "apiKey",
                "in": "cookie",
                "name": settings.SESSION_COOKIE_NAME,
                "description": "The session of a logged-in browser; changes need X-CSRFToken too.",
            },
        ]
