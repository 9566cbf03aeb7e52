import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from django.db import IntegrityError, connections
from django.test import RequestFactory
from rest_framework.permissions import AllowAny, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.models import Tenant
from apps.core import idempotency
from apps.core.errors import DomainError
from apps.core.idempotency import IdempotentMixin
from apps.core.models import KeptAnswer
from apps.core.tenancy import NoTenant, acting_for

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Refused(DomainError):
    code = "refused"


class Counter(IdempotentMixin, APIView):
    """Creates something, slowly, and counts how often it did."""

    authentication_classes = ()
    permission_classes: Sequence[Any] = [AllowAny]
    shown_once = ("secret",)
    made: ClassVar[list[object]] = []
    refuses: ClassVar[bool] = False
    pause_s: ClassVar[float] = 0

    def post(self, request: Request) -> Response:
        time.sleep(self.pause_s)
        self.made.append(request.data)
        if self.refuses:
            raise Refused("No.")
        body = {"n": len(self.made), "price": "0.10", "at": NOW, "secret": "pl_x"}
        return Response(body, status=201)

    def get(self, request: Request) -> Response:
        return Response({"n": len(self.made)})


Send = Callable[..., Response]


@pytest.fixture(autouse=True)
def reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counter, "made", [])
    monkeypatch.setattr(Counter, "refuses", False)
    monkeypatch.setattr(Counter, "pause_s", 0)


@pytest.fixture
def send(alice: Tenant) -> Send:
    """One request, inside a tenant's transaction as TenantMiddleware opens it."""

    def go(
        key: str | None = "k1",
        body: object = None,
        *,
        tenant: Tenant = alice,
        path: str = "/things",
        method: str = "POST",
    ) -> Response:
        headers = {"Idempotency-Key": key} if key is not None else {}
        request = RequestFactory(headers=headers).generic(
            method, path, json.dumps(body), content_type="application/json"
        )
        with acting_for(tenant):
            response: Any = Counter.as_view()(request)
            return response.render()  # type: ignore[no-any-return]

    return go


def body_of(response: Response) -> Any:
    return json.loads(response.content)


class TestTheSameRequest:
    def test_gets_the_first_answer_and_creates_nothing(self, send: Send) -> None:
        first, again = send(), send()

        assert len(Counter.made) == 1
        assert (first.status_code, again.status_code) == (201, 201)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert "Idempotency-Replayed" not in first.headers
        assert body_of(again) == {**body_of(first), "secret": None}

    def test_what_is_shown_once_is_not_kept(self, send: Send, alice: Tenant) -> None:
        first, again = send(), send()

        assert body_of(first)["secret"] == "pl_x"
        assert again.headers["Idempotency-Withheld"] == "secret"
        with acting_for(alice), connections["default"].cursor() as cursor:
            cursor.execute("SELECT string_agg(k::text, ' ') FROM core_keptanswer k")
            assert "pl_x" not in cursor.fetchone()[0]

    def test_at_the_same_time_waits_for_the_first(
        self, send: Send, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Counter, "pause_s", 0.3)
        together = threading.Barrier(4)

        def go(_: int) -> Response:
            together.wait()
            try:
                return send()
            finally:
                connections.close_all()

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(go, range(4)))

        assert len(Counter.made) == 1
        assert [body_of(answer)["n"] for answer in answers] == [1] * 4
        assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 3

    def test_is_made_again_after_a_refusal(
        self, send: Send, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Counter, "refuses", True)
        assert send().status_code == 409
        monkeypatch.setattr(Counter, "refuses", False)

        again = send()

        assert again.status_code == 201
        assert "Idempotency-Replayed" not in again.headers

    def test_is_no_way_around_a_permission(
        self, send: Send, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Nobody(BasePermission):
            def has_permission(self, request: Request, view: APIView) -> bool:
                return False

        send()
        monkeypatch.setattr(Counter, "permission_classes", [Nobody])

        assert send().status_code == 403

    def test_without_a_key_creates_twice(self, send: Send, alice: Tenant) -> None:
        send(None)
        send(None)

        assert len(Counter.made) == 2
        with acting_for(alice):
            assert not KeptAnswer.objects.exists()

    def test_of_another_tenant_is_another_request(self, send: Send, bob: Tenant) -> None:
        send()

        answer = send(tenant=bob)

        assert body_of(answer)["n"] == 2
        assert "Idempotency-Replayed" not in answer.headers


class TestAnotherRequest:
    @pytest.mark.parametrize("changes", [{"body": {"x": 1}}, {"path": "/things?dry=1"}])
    def test_with_the_same_key_is_refused_and_creates_nothing(
        self, send: Send, changes: dict[str, Any]
    ) -> None:
        send()

        answer = send(**changes)

        assert (answer.status_code, body_of(answer)["code"]) == (422, "idempotency_key_reused")
        assert len(Counter.made) == 1

    def test_of_another_user_is_another_request(self) -> None:
        first, second = (
            Request(RequestFactory().post("/things", b"{}", content_type="application/json"))
            for _ in range(2)
        )

        class Person:
            def __init__(self, pk: int) -> None:
                self.pk = pk

        first.user, second.user = Person(1), Person(2)  # type: ignore[assignment]

        assert idempotency.fingerprint(first) != idempotency.fingerprint(second)

    def test_with_another_key_creates(self, send: Send) -> None:
        send("k1")
        send("k2")

        assert len(Counter.made) == 2

    def test_that_reads_is_not_kept(self, send: Send, alice: Tenant) -> None:
        assert send(method="GET").status_code == 200
        with acting_for(alice):
            assert not KeptAnswer.objects.exists()


class TestTheKey:
    @pytest.mark.parametrize("key", ["", " ", "two words", "x" * 129, "tab\t"])
    def test_that_cannot_be_kept_is_refused(self, send: Send, key: str) -> None:
        answer = send(key)

        assert (answer.status_code, body_of(answer)["code"]) == (422, "idempotency_key_invalid")
        assert Counter.made == []

    def test_of_128_characters_is_kept(self, send: Send) -> None:
        assert send("x" * 128).status_code == 201

    def test_needs_a_tenant(self, database: None) -> None:
        with pytest.raises(NoTenant):
            idempotency.take_turn("k1")

    def test_the_database_keeps_one_answer_each(self, send: Send, alice: Tenant) -> None:
        send()

        with pytest.raises(IntegrityError), acting_for(alice):
            KeptAnswer.objects.create(key="k1", fingerprint=b"x", status=201)


class TestForget:
    def test_deletes_the_old_ones_of_every_tenant(
        self, send: Send, alice: Tenant, bob: Tenant
    ) -> None:
        send()
        send(tenant=bob)

        assert idempotency.forget(before=datetime.now(UTC) - timedelta(hours=1)) == 0
        assert idempotency.forget(before=datetime.now(UTC) + timedelta(hours=1)) == 2
        assert "Idempotency-Replayed" not in send().headers
