from pathlib import Path

import pytest

from pinelab.embedded import CannotStart, keys


class TestKeep:
    def test_secrets_are_made_once(self, tmp_path: Path) -> None:
        first = keys.keep(tmp_path / "secrets", has_data=False)

        assert keys.keep(tmp_path / "secrets", has_data=True) == first
        assert len(set(first.values())) == len(keys.NAMES)

    def test_a_new_release_adds_its_own_and_keeps_the_rest(self, tmp_path: Path) -> None:
        (tmp_path / "env").write_text("POSTGRES_PASSWORD=old\nSOMETHING_ELSE=kept\n")

        known = keys.keep(tmp_path, has_data=True)

        assert known["POSTGRES_PASSWORD"] == "old"
        assert keys.read(tmp_path / "env") == known
        assert known["SOMETHING_ELSE"] == "kept"

    def test_lost_secrets_are_not_replaced_while_their_data_is_there(self, tmp_path: Path) -> None:
        with pytest.raises(CannotStart):
            keys.keep(tmp_path / "secrets", has_data=True)

        assert not (tmp_path / "secrets").exists()

    def test_the_context_key_fits_one_block_of_its_hash(self, tmp_path: Path) -> None:
        known = keys.keep(tmp_path / "secrets", has_data=False)

        assert len(known["TENANT_CONTEXT_KEY"].encode()) <= 64


class TestWrite:
    def test_only_the_owner_may_read_whatever_was_there_before(self, tmp_path: Path) -> None:
        file = tmp_path / "env"
        file.write_text("old")
        file.chmod(0o644)

        keys.write(file, "new")

        assert file.read_text() == "new"
        assert file.stat().st_mode & 0o777 == 0o600
        assert [each.name for each in tmp_path.iterdir()] == ["env"]
