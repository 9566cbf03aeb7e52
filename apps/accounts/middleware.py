"""One transaction of one tenant around every view, entered before the view and left after it."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url
from django.utils import timezone
from django_htmx.http import HttpResponseClientRedirect

from apps.accounts import identity
from apps.accounts.doors import is_outside_tenant, outside_tenant
from apps.accounts.identity import Identity, InvalidKey, KeyRefused
from apps.accounts.models import User
from apps.core.errors import DomainError
from apps.core.http import problem
from apps.core.tenancy import acting_for

__all__ = ["TenantMiddleware", "outside_tenant"]


class TenantMiddleware:
    """Find out who asks, and call the view inside their tenant.

    It stands last, and calls the view itself, so that everything that is checked before a view
    (CSRF above all) was checked, and so that the transaction holds the view and nothing else.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        _attach(request, None)
        return self.get_response(request)

    def process_view(
        self,
        request: HttpRequest,
        view: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> HttpResponseBase | None:
        is_api = request.path.startswith("/api/")
        if is_outside_tenant(view, request.method):
            return None
        try:
            found = (_of_key(request) if is_api else None) or _of_session(request)
        except KeyRefused as refusal:
            return _refused(refusal)
        if found is None:
            # An API view answers for itself: 401, as problem details.
            return None if is_api else _to_log_in(request)
        _attach(request, found)
        try:
            with acting_for(found.tenant_id):
                return _answer(view, request, args, kwargs)
        except DomainError as refusal:
            # The API's own handler has answered its refusals; this is a page's.
            raise _as_page(refusal) from refusal


def _attach(request: HttpRequest, found: Identity | None) -> None:
    request.identity = found  # type: ignore[attr-defined]


def _of_key(request: HttpRequest) -> Identity | None:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        secret = request.headers.get("X-API-Key", "")
        if not secret:
            return None
    secret = secret.strip()
    if not secret.startswith("pl_"):
        raise InvalidKey("An API key begins with pl_.", hint="Check that it was copied whole.")
    return identity.of_key(secret, now=timezone.now())


def _of_session(request: HttpRequest) -> Identity | None:
    if not isinstance(request.user, User):
        return None
    return identity.of_session(request.user, chosen=identity.chosen_in(request.session))


def _answer(
    view: Callable[..., Any],
    request: HttpRequest,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> HttpResponseBase:
    response = view(request, *args, **kwargs)
    name = getattr(view, "__qualname__", repr(view))
    if not isinstance(response, HttpResponseBase):
        # Handing None on would make Django call the view once more, outside the tenant.
        raise RuntimeError(f"{name} answered with {type(response).__name__}, not a response")
    if response.streaming:
        response.close()
        raise RuntimeError(
            f"{name} streams its answer, which would be read after the tenant's transaction"
            " has ended: build it whole, or mark the view @outside_tenant and enter the tenant"
            " where the rows are read"
        )
    if hasattr(response, "render") and callable(response.render):
        # A template or serializer that is still to be rendered may read rows.
        rendered: HttpResponseBase = response.render()
        return rendered
    return response


def _as_page(refusal: DomainError) -> Exception:
    """The exception that makes Django show its page for this refusal, where it has one."""
    match refusal.status:
        case HTTPStatus.NOT_FOUND:
            return Http404(refusal.message)
        case HTTPStatus.FORBIDDEN:
            return PermissionDenied(refusal.message)
    return refusal


def _refused(refusal: KeyRefused) -> HttpResponse:
    body = problem(
        status=HTTPStatus.UNAUTHORIZED,
        code=refusal.code,
        detail=refusal.message,
        hint=refusal.hint,
    )
    return JsonResponse(
        body.data,
        status=HTTPStatus.UNAUTHORIZED,
        content_type="application/problem+json",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )


def _to_log_in(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        raise PermissionDenied(
            "You belong to no account any more. Ask an owner to add you to theirs."
        )
    if getattr(request, "htmx", False):
        # A fragment cannot show the log-in page: the whole page goes there.
        return HttpResponseClientRedirect(resolve_url(settings.LOGIN_URL))
    if request.method not in {"GET", "HEAD"}:
        return redirect_to_login("/")
    return redirect_to_login(request.get_full_path())
