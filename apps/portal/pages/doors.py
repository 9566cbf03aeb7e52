"""How a page is entered and how it answers: who may, what is rendered, what is said after."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts.doors import needs
from apps.accounts.identity import TenantRequest
from apps.accounts.models import Scope
from apps.core.errors import DomainError, NotFound
from apps.core.tenancy.context import active_scope
from apps.portal import selectors

P = ParamSpec("P")
View = Callable[Concatenate[TenantRequest, P], HttpResponseBase]


def page(view: View[P]) -> View[P]:
    """A page that every member may read."""
    return require_safe(needs(Scope.READ)(_framed(view)))


def form_page(scope: str) -> Callable[[View[P]], View[P]]:
    """A page with a form, for those who may send it."""
    methods = require_http_methods(["GET", "HEAD", "POST"])

    def mark(view: View[P]) -> View[P]:
        return methods(needs(scope)(_framed(view)))

    return mark


def action(scope: str) -> Callable[[View[P]], View[P]]:
    """A button: POST only, for those with the scope."""

    def mark(view: View[P]) -> View[P]:
        return require_POST(needs(scope)(view))

    return mark


def require(request: TenantRequest, scope: str) -> None:
    """Refuse what only some may send on a page that all may read."""
    if not request.identity.may(scope):
        raise PermissionDenied(f"This needs the scope {scope}.")


def _framed(view: View[P]) -> View[P]:
    def framed(request: TenantRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        # Before the page's own rows are read: an event in between is told twice, never missed.
        request.frame = selectors.frame()  # type: ignore[attr-defined]
        return view(request, *args, **kwargs)

    framed.__qualname__ = view.__qualname__
    return framed


def show(
    request: TenantRequest, template: str, context: dict[str, Any], **regions: str
) -> HttpResponse:
    """The page, or only the region that asks for itself again.

    Args:
        regions: template by the element's id.
    """
    asked = request.headers.get("HX-Target", "") if request.headers.get("HX-Request") else ""
    may = {scope: request.identity.may(scope) for scope in Scope.values}
    response = render(request, regions.get(asked, template), {"may": may, **context})
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    response["Cache-Control"] = "no-store"
    return response


def attempt(request: TenantRequest, act: Callable[[], object], *, done: str) -> bool:
    """Carry out a change and say what came of it; a refusal leaves nothing behind."""
    active = active_scope()
    before = list(active[1].events) if active else []
    try:
        with transaction.atomic():
            act()
    except NotFound as error:
        raise Http404(error.message) from error
    except DomainError as refusal:
        if active:
            active[1].events[:] = before
        messages.error(request, f"{refusal.message} {refusal.hint}".strip())
        return False
    messages.success(request, done)
    return True
