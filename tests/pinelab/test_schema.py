from collections.abc import Iterator
from pathlib import Path

import pytest

from pinelab import schema
from pinelab.embedded import Services, start


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    migrations = tmp_path / "apps" / "billing" / "migrations"
    migrations.mkdir(parents=True)
    (migrations / "0001_initial.py").write_text("one")
    monkeypatch.setattr(schema, "ROOT", tmp_path)
    return tmp_path


class TestFingerprint:
    def test_it_changes_with_a_migration(self, tree: Path) -> None:
        before = schema.fingerprint()
        (tree / "apps" / "billing" / "migrations" / "0002_more.py").write_text("two")

        assert schema.fingerprint() != before

    def test_it_does_not_change_with_other_code(self, tree: Path) -> None:
        before = schema.fingerprint()
        (tree / "apps" / "billing" / "views.py").write_text("two")

        assert schema.fingerprint() == before


@pytest.fixture
def services(var: Path) -> Iterator[Services]:
    services = start(var)
    yield services
    services.stop()


class TestIsCurrent:
    def test_a_database_is_current_from_its_stamp_to_the_next_change(
        self, tree: Path, services: Services
    ) -> None:
        owner = services.databases.owner
        assert not schema.is_current(owner)

        schema.stamp(owner)
        assert schema.is_current(owner)

        (tree / "apps" / "billing" / "migrations" / "0002_more.py").write_text("two")
        assert not schema.is_current(owner)


class TestMigration:
    def test_it_runs_as_the_owner(self) -> None:
        _, environment = schema.migration({"DATABASE_URL": "app", "SECRET_KEY": "k"}, "owner")

        assert environment == {"DATABASE_URL": "owner", "SECRET_KEY": "k"}
