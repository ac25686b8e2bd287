import os
import pwd
from pathlib import Path

import pytest

from common.domain.errors import ConfigurationError
from deploy.local.processes.child import Account
from deploy.local.servers import account

ROOT = Path("/")


def set_user(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    monkeypatch.setattr("os.geteuid", lambda: uid)


def test_an_ordinary_user_keeps_their_account(monkeypatch: pytest.MonkeyPatch) -> None:
    set_user(monkeypatch, 1000)
    assert account.choose_account(ROOT, ROOT) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can create an account")
def test_root_creates_data_as_an_account_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_user(monkeypatch, 0)
    tmp_path.chmod(0o700)
    chosen = account.choose_account(tmp_path / "data", ROOT)
    own = pwd.getpwnam("infill")
    assert own.pw_shell == "/usr/sbin/nologin"
    assert chosen == Account(own.pw_uid, own.pw_gid, keeps_access=True)


def test_root_keeps_the_account_that_owns_the_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_user(monkeypatch, 0)
    status = tmp_path.stat()
    chosen = account.choose_account(tmp_path, ROOT)
    assert chosen
    assert (chosen.uid, chosen.gid) == (status.st_uid, status.st_gid)


def test_root_that_can_create_no_account_gets_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_user(monkeypatch, 0)
    monkeypatch.setattr(account, "OWN_ACCOUNT", "no-such-account")
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(ConfigurationError, match="run `useradd --system no-such-account`, or"):
        account.choose_account(tmp_path / "data", ROOT)


def test_a_folder_below_a_closed_one_is_not_open_to_all(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755)
    tmp_path.chmod(0o700)
    assert not account.is_open_to_all(folder)
    assert account.is_open_to_all(ROOT / "any")


@pytest.mark.parametrize(("keeps_access", "text"), [(False, "7:8"), (True, "7:8:+")])
def test_an_account_is_formatted_as_launch_parses_it(*, keeps_access: bool, text: str) -> None:
    assert str(Account(7, 8, keeps_access=keeps_access)) == text
