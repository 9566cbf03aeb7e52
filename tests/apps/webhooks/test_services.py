"""Endpoints and replays: who may do what to whose, and what the rows say afterwards."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import IntegrityError

from apps.accounts.models import AuditEvent, Tenant
from apps.core.errors import NotFound
from apps.core.models import Event
from apps.core.tenancy import acting_across, acting_for
from apps.webhooks import services
from apps.webhooks.models import Alert, Endpoint, RecentBody
from pinelab.embedded import Services
from tests.factories import NOON, make_alert, make_endpoint

MakeEndpoint = Callable[[Tenant], tuple[Endpoint, str]]


def kinds(tenant: Tenant) -> list[str]:
    with acting_for(tenant):
        return list(Event.objects.order_by("sequence").values_list("kind", flat=True))


def decide(tenant: Tenant, alert: Alert) -> None:
    with acting_for(tenant):
        Alert.objects.filter(pk=alert.pk).update(status=Alert.Status.DECIDED, decided_at=NOON)


class TestCreateEndpoint:
    def test_the_token_is_shown_and_only_its_hash_is_kept(self, alice: Tenant) -> None:
        with acting_for(alice):
            endpoint, token = services.create_endpoint(name=" My  strategy ", now=NOON)
            row = Endpoint.objects.values().get()

        assert len(token) == 43
        assert endpoint.name == "My strategy"
        assert bytes(row["token_digest"]) == services.digest(token)
        assert row["token_hint"] == token[-4:]
        assert not any(token in str(value) for value in row.values())

    def test_two_tokens_are_never_alike(self, alice: Tenant) -> None:
        with acting_for(alice):
            tokens = {services.create_endpoint(name="E", now=NOON)[1] for _ in range(20)}

        assert len(tokens) == 20

    def test_it_is_told_and_audited_without_the_token(self, alice: Tenant) -> None:
        with acting_for(alice):
            endpoint, token = services.create_endpoint(name="E", now=NOON)
        with acting_for(alice):
            event = Event.objects.get(kind="endpoint.created")
            entry = AuditEvent.objects.get(action="endpoint.created")

        assert event.subject_id == endpoint.pk
        assert token not in str(event.payload)
        assert entry.subject_id == str(endpoint.pk)
        assert token not in str(entry.detail)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"name": ""},
            {"name": "   "},
            {"name": "x" * 81},
            {"name": "E", "max_age_s": 4},
            {"name": "E", "max_age_s": 86_401},
        ],
    )
    def test_nonsense_is_refused_and_writes_nothing(
        self, alice: Tenant, wrong: dict[str, Any]
    ) -> None:
        with acting_for(alice), pytest.raises(services.InvalidEndpoint):
            services.create_endpoint(**wrong, now=NOON)

        with acting_for(alice):
            assert not Endpoint.objects.exists()
        assert kinds(alice) == []


class TestChangeEndpoint:
    def test_what_is_not_named_stays(self, alice: Tenant, endpoint_of: MakeEndpoint) -> None:
        endpoint, _ = endpoint_of(alice)

        with acting_for(alice):
            changed = services.change_endpoint(endpoint_id=endpoint.pk, name="New", now=NOON)

        assert (changed.name, changed.max_age_s) == ("New", 60)
        assert kinds(alice) == ["endpoint.created", "endpoint.changed"]


class TestRotateEndpoint:
    def test_the_old_token_is_kept_until_the_overlap_ends(
        self, alice: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        endpoint, old = endpoint_of(alice)

        with acting_for(alice):
            new = services.rotate_endpoint(endpoint_id=endpoint.pk, now=NOON)
            endpoint.refresh_from_db()

        assert bytes(endpoint.token_digest) == services.digest(new)
        assert bytes(endpoint.previous_token_digest or b"") == services.digest(old)
        assert endpoint.previous_token_until == NOON + timedelta(hours=24)
        assert endpoint.token_hint == new[-4:]

    def test_a_second_rotation_ends_the_first_token_at_once(
        self, alice: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        endpoint, first = endpoint_of(alice)
        with acting_for(alice):
            second = services.rotate_endpoint(endpoint_id=endpoint.pk, now=NOON)
            services.rotate_endpoint(endpoint_id=endpoint.pk, now=NOON)
            endpoint.refresh_from_db()

        assert bytes(endpoint.previous_token_digest or b"") == services.digest(second)
        assert services.digest(first) not in {
            bytes(endpoint.token_digest),
            bytes(endpoint.previous_token_digest or b""),
        }

    @pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=30, seconds=1)])
    def test_an_impossible_overlap_is_refused(
        self, alice: Tenant, endpoint_of: MakeEndpoint, overlap: timedelta
    ) -> None:
        endpoint, token = endpoint_of(alice)
        with acting_for(alice), pytest.raises(services.InvalidOverlap):
            services.rotate_endpoint(endpoint_id=endpoint.pk, overlap=overlap, now=NOON)

        with acting_for(alice):
            endpoint.refresh_from_db()
        assert bytes(endpoint.token_digest) == services.digest(token)


class TestPauseAndResume:
    def test_each_is_told_once(self, alice: Tenant, endpoint_of: MakeEndpoint) -> None:
        endpoint, _ = endpoint_of(alice)
        with acting_for(alice):
            assert services.pause_endpoint(endpoint_id=endpoint.pk, now=NOON).is_paused
            assert services.pause_endpoint(endpoint_id=endpoint.pk, now=NOON).is_paused
            assert not services.resume_endpoint(endpoint_id=endpoint.pk, now=NOON).is_paused

        assert kinds(alice) == ["endpoint.created", "endpoint.paused", "endpoint.resumed"]


class TestDeleteEndpoint:
    def test_its_alerts_stay(self, alice: Tenant, endpoint_of: MakeEndpoint) -> None:
        endpoint, _ = endpoint_of(alice)
        alert = make_alert(alice, endpoint, b"buy")

        with acting_for(alice):
            services.delete_endpoint(endpoint_id=endpoint.pk, now=NOON)

        with acting_for(alice):
            assert list(Alert.objects.all()) == [alert]
            assert Endpoint.objects.get().deleted_at == NOON

    def test_nothing_can_be_done_to_it_any_more(
        self, alice: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        endpoint, _ = endpoint_of(alice)
        with acting_for(alice):
            services.delete_endpoint(endpoint_id=endpoint.pk, now=NOON)

        for verb in VERBS:
            with acting_for(alice), pytest.raises(NotFound):
                verb(endpoint_id=endpoint.pk, now=NOON)


VERBS: list[Callable[..., Any]] = [
    services.change_endpoint,
    services.rotate_endpoint,
    services.pause_endpoint,
    services.resume_endpoint,
    services.delete_endpoint,
]


class TestAnotherTenant:
    @pytest.mark.parametrize("verb", VERBS)
    def test_cannot_touch_an_endpoint(
        self, alice: Tenant, bob: Tenant, endpoint_of: MakeEndpoint, verb: Callable[..., Any]
    ) -> None:
        endpoint, token = endpoint_of(alice)

        with acting_for(bob), pytest.raises(NotFound):
            verb(endpoint_id=endpoint.pk, now=NOON)

        with acting_for(alice):
            endpoint.refresh_from_db()
        assert bytes(endpoint.token_digest) == services.digest(token)
        assert endpoint.deleted_at is None
        assert kinds(alice) == ["endpoint.created"]

    def test_cannot_replay_an_alert(
        self, alice: Tenant, bob: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        alert = make_alert(alice, endpoint_of(alice)[0], b"buy")
        decide(alice, alert)

        with acting_for(bob), pytest.raises(NotFound):
            services.replay_alert(alert_id=alert.pk, now=NOON)

        with acting_for(alice):
            assert Alert.objects.count() == 1


class TestReplayAlert:
    def test_it_waits_again_with_the_same_bytes(
        self, alice: Tenant, endpoint_of: MakeEndpoint, stage: Services
    ) -> None:
        alert = make_alert(alice, endpoint_of(alice)[0], b"\xff\0buy")
        decide(alice, alert)
        assert stage.admin_url
        with psycopg.connect(stage.admin_url, autocommit=True) as listener:
            listener.execute("LISTEN pinelab_alerts")
            with acting_for(alice):
                again = services.replay_alert(alert_id=alert.pk, now=NOON)
            heard = list(listener.notifies(timeout=2, stop_after=1))

        assert again.pk != alert.pk
        assert again.replay_of_id == alert.pk
        assert again.status == Alert.Status.STORED
        assert bytes(again.body) == b"\xff\0buy"
        assert len(heard) == 1
        assert kinds(alice)[-1] == "alert.replayed"

    def test_one_that_still_waits_is_not_doubled(
        self, alice: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        alert = make_alert(alice, endpoint_of(alice)[0], b"buy")

        with acting_for(alice), pytest.raises(services.AlertWaiting):
            services.replay_alert(alert_id=alert.pk, now=NOON)

        with acting_for(alice):
            assert Alert.objects.count() == 1

    def test_a_deleted_endpoints_alert_is_not_traded_again(
        self, alice: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        endpoint, _ = endpoint_of(alice)
        alert = make_alert(alice, endpoint, b"buy")
        decide(alice, alert)
        with acting_for(alice):
            services.delete_endpoint(endpoint_id=endpoint.pk, now=NOON)

        with acting_for(alice), pytest.raises(services.EndpointDeleted):
            services.replay_alert(alert_id=alert.pk, now=NOON)

    def test_an_unknown_one_is_not_found(self, alice: Tenant) -> None:
        with acting_for(alice), pytest.raises(NotFound):
            services.replay_alert(alert_id=uuid4(), now=NOON)


class TestForgetRecentBodies:
    def test_only_the_old_ones_go_of_every_tenant(
        self, alice: Tenant, bob: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        with acting_across("test: set the stage"):
            for tenant in (alice, bob):
                for minutes in (0, 30):
                    RecentBody.objects.create(
                        tenant=tenant,
                        endpoint_id=uuid4(),
                        digest=b"d" * 32,
                        alert_id=uuid4(),
                        at=NOON - timedelta(minutes=minutes),
                    )

        assert services.forget_recent_bodies(before=NOON - timedelta(minutes=10)) == 2
        for tenant in (alice, bob):
            with acting_for(tenant):
                assert [row.at for row in RecentBody.objects.all()] == [NOON]


class TestTheDatabaseRefuses:
    def test_one_token_for_two_endpoints(self, alice: Tenant) -> None:
        make_endpoint(alice, "token")

        with pytest.raises(IntegrityError, match="endpoint_token_once"):
            make_endpoint(alice, "token")

    def test_an_overlap_without_an_end(self, alice: Tenant) -> None:
        with pytest.raises(IntegrityError, match="endpoint_overlap_has_an_end"):
            make_endpoint(alice, previous_token_digest=b"d" * 32)

    def test_the_same_recent_body_twice(self, alice: Tenant) -> None:
        row = {"endpoint_id": uuid4(), "digest": b"d" * 32, "alert_id": uuid4(), "at": NOON}
        with acting_for(alice):
            RecentBody.objects.create(**row)

        with acting_for(alice), pytest.raises(IntegrityError, match="one_recent_body"):
            RecentBody.objects.create(**row)

    def test_an_alert_at_another_tenants_endpoint(
        self, alice: Tenant, bob: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        hers, _ = endpoint_of(alice)

        with pytest.raises(IntegrityError, match="same_tenant"):
            make_alert(bob, hers, b"buy")
