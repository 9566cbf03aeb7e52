import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from allauth.account.views import login as log_in_page
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template import engines
from django.template.response import SimpleTemplateResponse
from django.test import RequestFactory
from django.utils.decorators import method_decorator
from django.views import View

from apps.accounts.doors import needs, outside_tenant
from apps.accounts.identity import Identity, MissingScope, TenantRequest, choose_in
from apps.accounts.middleware import TenantMiddleware
from apps.accounts.models import Membership, Tenant, User
from apps.core.errors import Invalid, NotFound
from apps.core.tenancy import NoTenant, acting_for, current_tenant_id

Ask = Callable[..., HttpResponseBase | None]


def whose(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(current_tenant_id()))


@pytest.fixture
def ask(database: None) -> Ask:
    """Send a request through the middleware alone; None means that Django calls the view."""

    def send(
        view: Callable[..., Any],
        user: User | None = None,
        *,
        path: str = "/",
        method: str = "GET",
        key: str = "",
        headers: dict[str, str] | None = None,
        chosen: Tenant | None = None,
        htmx: bool = False,
    ) -> HttpResponseBase | None:
        given = {"Authorization": f"Bearer {key}"} if key else {}
        request: Any = RequestFactory(headers=given | (headers or {})).generic(method, path)
        request.user = user or AnonymousUser()
        request.session, request.htmx = {}, htmx
        if chosen:
            choose_in(request.session, chosen.pk)

        def inside(_: HttpRequest) -> Any:
            response = middleware.process_view(request, view, (), {})
            return response if response is not None else HttpResponse(status=299)

        middleware = TenantMiddleware(inside)
        response = middleware(request)
        response.identity = request.identity  # type: ignore[attr-defined]
        return None if response.status_code == 299 else response

    return send


def text(response: HttpResponseBase | None) -> str:
    assert isinstance(response, HttpResponse)
    return response.content.decode()


class TestAPage:
    def test_runs_inside_the_users_tenant_and_leaves_it(
        self, ask: Ask, alice: Tenant, owner: User
    ) -> None:
        assert text(ask(whose, owner)) == str(alice.pk)
        assert current_tenant_id() is None

    def test_runs_inside_the_chosen_tenant(
        self, ask: Ask, alice: Tenant, bob: Tenant, other: User
    ) -> None:
        with acting_for(alice):
            Membership.objects.create(user=other, role="viewer")

        assert text(ask(whose, other, chosen=alice)) == str(alice.pk)

    def test_never_inside_one_that_is_not_the_users(
        self, ask: Ask, alice: Tenant, bob: Tenant, other: User
    ) -> None:
        assert text(ask(whose, other, chosen=alice)) == str(bob.pk)

    def test_without_a_log_in_leads_there_and_back(self, ask: Ask) -> None:
        response = ask(whose, path="/trades?side=buy")

        assert response is not None
        assert response.status_code == 302
        assert response["Location"].endswith("/login/?next=/trades%3Fside%3Dbuy")

    def test_a_form_without_a_log_in_does_not_come_back_to_itself(self, ask: Ask) -> None:
        response = ask(whose, path="/orders", method="POST")

        assert response is not None
        assert response["Location"].endswith("?next=/")

    def test_a_fragment_without_a_log_in_sends_the_whole_page_there(self, ask: Ask) -> None:
        response = ask(whose, htmx=True)

        assert response is not None
        assert response["HX-Redirect"].endswith("/login/")

    def test_a_user_without_a_tenant_is_refused(self, ask: Ask) -> None:
        with pytest.raises(PermissionDenied):
            ask(whose, User.objects.create_user("x@example.com"))

    def test_a_key_is_not_a_log_in_to_pages(
        self, ask: Ask, alice: Tenant, owner: User, key_of: Callable[..., str]
    ) -> None:
        response = ask(whose, key=key_of(owner, alice))

        assert response is not None
        assert response.status_code == 302

    def test_an_exception_takes_its_writes_with_it(
        self, ask: Ask, alice: Tenant, owner: User
    ) -> None:
        def fails(request: HttpRequest) -> HttpResponse:
            Tenant.objects.update(name="changed")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            ask(fails, owner)

        with acting_for(alice):
            assert Tenant.objects.get().name != "changed"
        assert current_tenant_id() is None

    def test_a_template_is_rendered_inside(self, ask: Ask, alice: Tenant, owner: User) -> None:
        template = engines["django"].from_string("{{ whose }}")

        def lazy(request: HttpRequest) -> HttpResponse:
            return SimpleTemplateResponse(template, {"whose": current_tenant_id})

        assert text(ask(lazy, owner)) == str(alice.pk)

    def test_a_stream_is_refused(self, ask: Ask, owner: User) -> None:
        with pytest.raises(RuntimeError, match="streams its answer"):
            ask(lambda request: StreamingHttpResponse([b"x"]), owner)

    @pytest.mark.parametrize("answer", [None, "text"])
    def test_an_answer_that_is_none_is_refused(self, ask: Ask, owner: User, answer: object) -> None:
        with pytest.raises(RuntimeError, match="not a response"):
            ask(lambda request: answer, owner)

    def test_that_needs_more_than_the_role_has_is_refused(
        self, ask: Ask, owner: User, charlie: User
    ) -> None:
        @needs("manage")
        def page(request: TenantRequest) -> HttpResponseBase:
            return HttpResponse("in")

        assert text(ask(page, owner)) == "in"
        with pytest.raises(PermissionDenied):
            ask(page, charlie)

    @pytest.mark.parametrize(
        ("refusal", "shown"),
        [(NotFound("x"), Http404), (MissingScope("x"), PermissionDenied), (Invalid("x"), Invalid)],
    )
    def test_a_refusal_is_shown_as_the_page_for_it(
        self, ask: Ask, alice: Tenant, owner: User, refusal: Exception, shown: type[Exception]
    ) -> None:
        def refuses(request: HttpRequest) -> HttpResponse:
            Tenant.objects.update(name="changed")
            raise refusal

        with pytest.raises(shown):
            ask(refuses, owner)

        with acting_for(alice):
            assert Tenant.objects.get().name != "changed"


class TestOutside:
    def test_a_marked_view_runs_without_log_in_and_tenant(self, ask: Ask, owner: User) -> None:
        @outside_tenant
        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse()

        assert ask(view) is None
        assert ask(view, owner) is None

    def test_a_class_can_be_marked(self, ask: Ask) -> None:
        @method_decorator(outside_tenant, name="dispatch")
        class Page(View):
            pass

        assert ask(Page.as_view()) is None

    def test_for_one_method_only(self, ask: Ask, alice: Tenant, owner: User) -> None:
        view = outside_tenant(lambda request: whose(request), methods={"POST"})

        assert ask(view, owner, method="POST") is None
        assert text(ask(view, owner, method="DELETE")) == str(alice.pk)

    def test_allauths_own_pages_are(self, ask: Ask, owner: User) -> None:
        assert ask(log_in_page, owner) is None

    def test_customers_rows_cannot_be_reached_there(self, database: None) -> None:
        with pytest.raises(NoTenant):
            Membership.objects.all()


class TestTheApi:
    def test_without_an_identity_the_view_answers_for_itself(self, ask: Ask) -> None:
        assert ask(whose, path="/api/v1/me") is None

    @pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
    def test_a_key_enters_its_tenant(
        self, ask: Ask, alice: Tenant, owner: User, key_of: Callable[..., str], header: str
    ) -> None:
        secret = key_of(owner, alice)
        value = f"bearer {secret}" if header == "Authorization" else secret

        response: Any = ask(whose, path="/api/v1/me", headers={header: value})

        assert text(response) == str(alice.pk)
        found: Identity = response.identity
        assert (found.user, found.key_id is not None) == (owner, True)
        assert found.via == "key"
        assert found.scopes == {"read"}

    def test_a_key_goes_before_a_session(
        self, ask: Ask, alice: Tenant, owner: User, other: User, key_of: Callable[..., str]
    ) -> None:
        response = ask(whose, other, path="/api/v1/me", key=key_of(owner, alice))

        assert text(response) == str(alice.pk)

    @pytest.mark.parametrize("code", ["invalid_key", "revoked_key", "expired_key"])
    def test_a_key_that_opens_nothing_is_named(
        self,
        ask: Ask,
        alice: Tenant,
        owner: User,
        now: datetime,
        key_of: Callable[..., str],
        code: str,
    ) -> None:
        secret = key_of(owner, alice, expires_at=now + timedelta(seconds=1))
        if code == "invalid_key":
            secret += "x"
        if code == "revoked_key":
            with acting_for(alice), connections["default"].cursor() as cursor:
                cursor.execute("UPDATE accounts_apikey SET revoked_at = now()")

        response = ask(whose, owner, path="/api/v1/me", key=secret)

        body = json.loads(text(response))
        assert (body["status"], body["code"]) == (401, code)
        assert response is not None
        assert response["Content-Type"] == "application/problem+json"
        assert response["WWW-Authenticate"].startswith("Bearer")

    def test_a_bearer_that_is_no_key_of_ours_is_not_looked_for(self, ask: Ask) -> None:
        response = ask(whose, path="/api/v1/me", key="eyJ0eXAiOiJKV1Qi")

        body = json.loads(text(response))
        assert (body["code"], body["detail"]) == ("invalid_key", "An API key begins with pl_.")

    def test_other_ways_to_authorize_are_not_ours(
        self, ask: Ask, alice: Tenant, owner: User
    ) -> None:
        response = ask(whose, owner, path="/api/v1/me", headers={"Authorization": "Basic eDp5"})

        assert text(response) == str(alice.pk)
