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


def test_root_creates_data_as_the_unprivileged_account(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_user(monkeypatch, 0)
    tmp_path.chmod(0o700)
    chosen = account.choose_account(tmp_path / "data", ROOT)
    nobody = pwd.getpwnam("nobody")
    assert chosen == Account(nobody.pw_uid, nobody.pw_gid, keeps_access=True)


def test_root_keeps_the_account_that_owns_the_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_user(monkeypatch, 0)
    status = tmp_path.stat()
    chosen = account.choose_account(tmp_path, ROOT)
    assert chosen
    assert (chosen.uid, chosen.gid) == (status.st_uid, status.st_gid)


def test_root_without_an_unprivileged_account_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_user(monkeypatch, 0)
    monkeypatch.setattr(account, "UNPRIVILEGED", "no-such-account")
    with pytest.raises(ConfigurationError, match="start it as an ordinary user"):
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
