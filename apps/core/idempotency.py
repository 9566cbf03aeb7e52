"""The same request twice, the same answer: ``Idempotency-Key`` on every POST that creates.

A client that did not hear the answer sends the request again with the same key, and gets the
first answer instead of a second object. Kept in the transaction of what was created, so that
there is never one without the other; a refused request is not kept and may be tried again.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import datetime
from http import HTTPMethod
from typing import Any, ClassVar

from django.db import connections
from django.http import HttpRequest
from django.http.request import RawPostDataException
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.errors import Invalid
from apps.core.models import KeptAnswer
from apps.core.tenancy import NoTenant, acting_across, current_tenant_id

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
WITHHELD = "Idempotency-Withheld"


class KeyReused(Invalid):
    """The key was used for another request."""

    code = "idempotency_key_reused"


class InvalidKey(Invalid):
    """The key is empty, too long, or not printable ASCII."""

    code = "idempotency_key_invalid"


class Replay(Exception):
    """The answer is known; raised past the view that would make it anew."""

    def __init__(self, kept: KeptAnswer) -> None:
        super().__init__(kept.key)
        self.kept = kept


class IdempotentMixin(APIView):
    """Honour ``Idempotency-Key`` on this view's POST; stands before the view's other bases.

    Two requests with one key at the same time go one after the other, and the second gets the
    first one's answer.
    """

    # Fields of the answer that are shown once and never stored: a replay gives them as null,
    # and names them in the header Idempotency-Withheld.
    shown_once: ClassVar[Sequence[str]] = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # First who asks and whether they may: a kept answer is no way around that.
        super().initial(request, *args, **kwargs)
        if (key := key_of(request)) is None:
            return
        take_turn(key)
        kept = KeptAnswer.objects.filter(key=key).first()
        if kept is None:
            return
        if bytes(kept.fingerprint) != fingerprint(request):
            raise KeyReused(
                f"This {HEADER} was used for another request.",
                hint="Use a new key for a new request.",
            )
        raise Replay(kept)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, Replay):
            return self._again(exc.kept)
        return super().handle_exception(exc)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        final = super().finalize_response(request, response, *args, **kwargs)
        is_news = 200 <= final.status_code < 300 and REPLAYED not in final.headers
        if is_news and (key := key_of(request)) is not None:
            self._keep(key, request, final)
        return final

    def _keep(self, key: str, request: Request, response: Response) -> None:
        body: Any = json.loads(JSONRenderer().render(response.data) or "null")
        if self.shown_once:
            body |= dict.fromkeys(self.shown_once)
        KeptAnswer.objects.create(
            key=key, fingerprint=fingerprint(request), status=response.status_code, body=body
        )

    def _again(self, kept: KeptAnswer) -> Response:
        response = Response(kept.body, status=kept.status, headers={REPLAYED: "true"})
        if self.shown_once:
            response[WITHHELD] = ", ".join(self.shown_once)
        return response


def forget(*, before: datetime) -> int:
    """Delete the answers of all tenants kept before then; returns how many."""
    with acting_across("idempotency.forget"):
        return KeptAnswer.objects.filter(created_at__lt=before).delete()[0]


def key_of(request: Request) -> str | None:
    """The request's key, if it is a POST and has one.

    Raises:
        InvalidKey: it has one that cannot be kept.
    """
    key = request.headers.get(HEADER)
    if request.method != HTTPMethod.POST or key is None:
        return None
    if not re.fullmatch(r"[\x21-\x7e]{1,128}", key):
        raise InvalidKey(f"{HEADER} must be 1 to 128 printable ASCII characters without spaces.")
    return key


def fingerprint(request: Request) -> bytes:
    """SHA-256 of who asks, the method, the path and the body.

    Who asks belongs to it: one member's answer is not given to another, whose request would
    perhaps have been answered differently.
    """
    plain: HttpRequest = request._request
    try:
        body = plain.body
    except RawPostDataException as error:
        # A form was read from the stream while looking for a CSRF token.
        raise UnsupportedMediaType(plain.content_type or "") from error
    head = json.dumps([str(getattr(request.user, "pk", "")), plain.method, plain.get_full_path()])
    return hashlib.sha256(head.encode() + b"\0" + body).digest()


def take_turn(key: str) -> None:
    """Wait until nobody else is answering a request with this key; held until the commit."""
    tenant_id = current_tenant_id()
    if tenant_id is None:
        raise NoTenant(f"{HEADER} outside a tenant")
    with connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('kept:' || %s, 0))",
            [f"{tenant_id}:{key}"],
        )
