from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from datetime import datetime
from typing import Any

import pytest
from django.db import ProgrammingError, connections

from apps.accounts import audit
from apps.accounts.audit import SERVICE, Actor, Head
from apps.accounts.models import AuditEvent, Tenant, User
from apps.core.tenancy import NoTenant, acting_for


@pytest.fixture
def written(alice: Tenant, owner: User, now: datetime) -> list[AuditEvent]:
    """Alice's log, five rows longer than it was."""
    with acting_for(alice):
        for n in range(5):
            audit.record(
                action="test.done",
                subject="test",
                subject_id=n,
                by=Actor(owner.pk),
                at=now,
                detail={"n": n, "é": ["ü", None, True], "amount": "0.10"},
            )
        return list(AuditEvent.objects.order_by("sequence"))


class TestRecord:
    def test_rows_count_from_one_without_a_gap(self, written: list[AuditEvent]) -> None:
        assert [event.sequence for event in written] == list(range(1, len(written) + 1))

    def test_each_row_carries_the_hash_of_the_one_before(self, written: list[AuditEvent]) -> None:
        assert written[0].previous_hash == audit.BEGINNING
        assert [e.previous_hash for e in written[1:]] == [e.hash for e in written[:-1]]

    def test_what_was_written_reads_back_whole(
        self, alice: Tenant, written: list[AuditEvent]
    ) -> None:
        assert written
        assert audit.verify(alice) == []

    def test_outside_a_tenant_it_refuses(self, database: None, now: datetime) -> None:
        with pytest.raises(NoTenant):
            audit.record(action="a", subject="b", subject_id=1, by=SERVICE, at=now)

    @pytest.mark.parametrize("detail", [{"x": 0.1}, {"x": [{"y": 1.0}]}])
    def test_floats_are_refused_and_nothing_is_written(
        self,
        alice: Tenant,
        now: datetime,
        detail: dict[str, Any],
        audited: Callable[[Tenant], list[str]],
    ) -> None:
        before = audited(alice)

        with acting_for(alice), pytest.raises(TypeError):
            audit.record(action="a", subject="b", subject_id=1, by=SERVICE, at=now, detail=detail)

        assert audited(alice) == before

    def test_a_failed_change_leaves_no_row(
        self, alice: Tenant, now: datetime, audited: Callable[[Tenant], list[str]]
    ) -> None:
        before = audited(alice)

        with pytest.raises(ZeroDivisionError), acting_for(alice):  # noqa: PT012
            audit.record(action="a", subject="b", subject_id=1, by=SERVICE, at=now)
            raise ZeroDivisionError

        assert audited(alice) == before

    def test_twenty_at_once_make_one_chain(self, alice: Tenant, now: datetime) -> None:
        first = audit.head(alice).sequence

        def write(n: int) -> None:
            with acting_for(alice):
                audit.record(action="a", subject="b", subject_id=n, by=SERVICE, at=now)
            connections.close_all()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(20)))

        assert audit.head(alice).sequence == first + 20
        assert audit.verify(alice) == []


class TestTheTable:
    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE accounts_auditevent SET action = 'x'",
            "DELETE FROM accounts_auditevent",
            "TRUNCATE accounts_auditevent CASCADE",
        ],
    )
    def test_the_application_can_neither_edit_nor_delete(
        self, alice: Tenant, written: list[AuditEvent], change: str
    ) -> None:
        with (
            pytest.raises(ProgrammingError, match="permission denied"),
            acting_for(alice),
            connections["default"].cursor() as cursor,
        ):
            cursor.execute(change)

    def test_another_tenant_sees_none_of_it(self, bob: Tenant, written: list[AuditEvent]) -> None:
        with acting_for(bob):
            assert not AuditEvent.objects.filter(pk__in=[e.pk for e in written]).exists()


class TestFaultsIn:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("action", "test.undone"),
            ("user_id", 99),
            ("subject_id", "8"),
            ("detail", {"n": 7}),
            ("at", datetime.fromisoformat("2026-03-02T14:30:00.000001+00:00")),
        ],
    )
    def test_an_edited_row_is_found(
        self, written: list[AuditEvent], field: str, value: object
    ) -> None:
        edited = copy(written[2])
        setattr(edited, field, value)

        faults = audit.faults_in([*written[:2], edited, *written[3:]])

        assert [(f.sequence, f.what) for f in faults] == [(3, "was changed after it was written")]

    def test_an_edited_row_with_its_hash_made_anew_is_found_by_the_next(
        self, written: list[AuditEvent]
    ) -> None:
        edited = copy(written[2])
        edited.action = "x"
        edited.hash = audit.hash_of(edited)

        faults = audit.faults_in([*written[:2], edited, *written[3:]])

        assert [f.sequence for f in faults] == [4]

    def test_a_missing_row_is_found(self, written: list[AuditEvent]) -> None:
        faults = audit.faults_in([*written[:2], *written[3:]])

        assert [f.what for f in faults] == ["expected row 3", "does not follow the row before it"]

    def test_a_cut_off_beginning_is_found(self, written: list[AuditEvent]) -> None:
        assert audit.faults_in(written[1:])

    def test_swapped_rows_are_found(self, written: list[AuditEvent]) -> None:
        assert audit.faults_in([written[0], written[2], written[1], *written[3:]])

    def test_a_forged_last_row_is_found(self, alice: Tenant, written: list[AuditEvent]) -> None:
        with acting_for(alice):
            AuditEvent.objects.create(
                sequence=written[-1].sequence + 1,
                at=written[-1].at,
                action="x",
                subject="y",
                subject_id="z",
                previous_hash=written[-1].hash,
                hash="0" * 64,
            )

        assert [f.what for f in audit.verify(alice)] == ["was changed after it was written"]

    def test_a_cut_off_end_is_found_by_a_checkpoint_only(self, written: list[AuditEvent]) -> None:
        checkpoint = Head(written[-1].sequence, written[-1].hash)

        assert audit.faults_in(written[:-2]) == []
        assert [f.sequence for f in audit.faults_in(written[:-2], checkpoint=checkpoint)] == [
            written[-1].sequence - 1
        ]

    def test_a_log_written_anew_is_found_by_a_checkpoint_only(
        self, written: list[AuditEvent]
    ) -> None:
        checkpoint = Head(written[-1].sequence, written[-1].hash)
        last = audit.BEGINNING
        anew = [copy(event) for event in written]
        for event in anew:
            event.action, event.previous_hash = "x", last
            last = event.hash = audit.hash_of(event)

        assert audit.faults_in(anew) == []
        assert audit.faults_in(anew, checkpoint=checkpoint)
