"""Errors on their way out: problem details (RFC 9457) for the API, one reference for people."""

import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from apps.core.errors import DomainError
from apps.core.ids import uuid7
from apps.core.tenancy.context import active_scope

PROBLEMS = "urn:pinelab:problem:"
request_id: ContextVar[str] = ContextVar("request_id", default="")


class RequestIdMiddleware:
    """Give every request a reference to quote; it stands in the answer and in the log."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        reference = given if re.fullmatch(r"[A-Za-z0-9-]{8,64}", given) else uuid7().hex
        request_id.set(reference)
        response = self.get_response(request)
        response["X-Request-ID"] = reference
        return response


def problem(*, status: int, code: str, detail: str, hint: str = "", errors: Any = None) -> Response:
    """One answer of ``application/problem+json``."""
    body: dict[str, Any] = {
        "type": f"{PROBLEMS}{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": request_id.get(),
    }
    if hint:
        body["hint"] = hint
    if errors:
        body["errors"] = errors
    return Response(body, status=status, content_type="application/problem+json")


def problem_details(error: Exception, context: dict[str, Any]) -> Response | None:
    """The API's one exception handler: every refusal is a problem with a stable code."""
    if (active := active_scope()) is not None:
        # A refused request leaves nothing behind.
        transaction.set_rollback(True, using=active[0])
        active[1].events.clear()
    set_rollback()
    match error:
        case DomainError():
            return problem(
                status=error.status, code=error.code, detail=error.message, hint=error.hint
            )
        case Http404():
            return problem(status=404, code="not_found", detail="There is no such object here.")
        case PermissionDenied():
            return problem(status=403, code="permission_denied", detail=str(error) or "Refused.")
        case exceptions.ValidationError():
            return problem(
                status=422,
                code="invalid",
                detail="Some fields are not as they must be.",
                errors=error.detail,
            )
        case exceptions.APIException():
            return _refused_by_the_framework(error)
    return None


def _refused_by_the_framework(error: exceptions.APIException) -> Response:
    detail = error.detail
    code = getattr(detail, "code", None) or error.default_code
    response = problem(status=error.status_code, code=str(code), detail=str(detail))
    if header := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = header
    if (wait := getattr(error, "wait", None)) is not None:
        response["Retry-After"] = str(int(wait) + 1)
    return response
