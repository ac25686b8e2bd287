import os
from pathlib import Path

import pytest

from common.domain.errors import ConfigurationError
from deploy.local.home_lock import lock_home


def test_a_home_has_one_owner_at_a_time(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    rejected = pytest.raises(ConfigurationError, match=f"in use .* process {os.getpid()}: stop")
    with lock_home(home), rejected, lock_home(home):
        pass
    with lock_home(home):
        assert (home / "lock").read_text() == str(os.getpid())
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_home_that_was_open_to_all_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with lock_home(tmp_path):
        assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_an_unwritable_home_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "taken" / "lock").mkdir(parents=True)
    for home in (tmp_path / "file", tmp_path / "file" / "home", tmp_path / "taken"):
        with (
            pytest.raises(ConfigurationError, match=f"{home} is not writable .*--home"),
            lock_home(home),
        ):
            pass


def test_an_error_within_the_block_is_raised_unchanged(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="elsewhere"), lock_home(tmp_path):
        raise OSError("elsewhere")
