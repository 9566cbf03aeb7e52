"""The API's two questions, answered from the identity of the request: who, and may they."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from apps.accounts.identity import Identity, attached_to
from apps.accounts.models import Scope

if TYPE_CHECKING:
    # rest_framework.views imports this module, as the default of all its views.
    from rest_framework.views import APIView


class IdentityAuthentication(SessionAuthentication):
    """Take over what TenantMiddleware found; a session must also prove that it meant this."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        identity = attached_to(request._request)
        if identity is None:
            return None
        if identity.via == "session":
            # A browser sends its cookie with any site's request; a key is sent on purpose.
            self.enforce_csrf(request)
        return identity.user, identity

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


class HasScope(BasePermission):
    """Ask for the view's ``required_scope``; else read for safe methods and trade for others.

    ``required_scope`` is one scope, or a mapping from HTTP method to scope.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        identity = request.auth
        if not isinstance(identity, Identity):
            return False
        identity.require(required_scope(view, request.method or ""))
        return True


def required_scope(view: APIView, method: str) -> str:
    """The scope that a view asks for when it is called with this method."""
    default = Scope.READ if method in SAFE_METHODS else Scope.TRADE
    wanted: str | Mapping[str, str] = getattr(view, "required_scope", default)
    return str(wanted if isinstance(wanted, str) else wanted.get(method, default))
