"""Marks on views: which run outside a tenant, and which page needs which scope."""

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.core.exceptions import PermissionDenied
from django.http import HttpResponseBase

from apps.accounts.identity import TenantRequest

P = ParamSpec("P")
View = TypeVar("View", bound=Callable[..., Any])

ALL_METHODS: Collection[str] = frozenset({"*"})


def outside_tenant(view: View, *, methods: Collection[str] = ALL_METHODS) -> View:
    """Let a view run without a log-in and without a tenant's transaction.

    Args:
        methods: only for these HTTP methods; all by default.
    """
    view.outside_tenant = frozenset(methods)  # type: ignore[attr-defined]
    return view


def is_outside_tenant(view: Callable[..., Any], method: str | None) -> bool:
    # allauth's pages are where one logs in.
    if getattr(view, "__module__", "").startswith("allauth."):
        return True
    methods: Collection[str] = getattr(view, "outside_tenant", frozenset())
    return methods == ALL_METHODS or method in methods


def needs(
    scope: str,
) -> Callable[
    [Callable[Concatenate[TenantRequest, P], HttpResponseBase]],
    Callable[Concatenate[TenantRequest, P], HttpResponseBase],
]:
    """Refuse a page to those without the scope."""

    def mark(
        view: Callable[Concatenate[TenantRequest, P], HttpResponseBase],
    ) -> Callable[Concatenate[TenantRequest, P], HttpResponseBase]:
        @wraps(view)
        def guarded(
            request: TenantRequest, /, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            if not request.identity.may(scope):
                raise PermissionDenied(f"This page needs the scope {scope}.")
            return view(request, *args, **kwargs)

        return guarded

    return mark
