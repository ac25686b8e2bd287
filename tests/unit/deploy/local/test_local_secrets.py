"""The secrets of a local stack: generated once, readable by their owner only."""

import json
import stat
from dataclasses import astuple
from pathlib import Path

import pytest

from common.domain.errors import ConfigurationError
from common.standard_webhooks.keys import load_signing_key
from deploy.local.local_secrets import load_or_create_secrets, write_private


def test_secrets_are_generated_once(tmp_path: Path) -> None:
    first = load_or_create_secrets(tmp_path)
    assert load_or_create_secrets(tmp_path) == first
    load_signing_key(first.webhook_signing_key)


def test_no_two_homes_share_a_secret(tmp_path: Path) -> None:
    homes = [tmp_path / "a", tmp_path / "b"]
    for home in homes:
        home.mkdir()
    one, other = (set(astuple(load_or_create_secrets(home))) for home in homes)
    assert one & other == {"infill"}  # the access key id is a name, not a secret


def test_only_the_owner_may_read_them(tmp_path: Path) -> None:
    load_or_create_secrets(tmp_path)
    path = tmp_path / "secrets.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]  # no draft is left


@pytest.mark.parametrize("content", ["", "{", "[]", '{"postgres_password": "x"}', '{"other": "x"}'])
def test_a_damaged_file_is_reported_and_kept(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"secrets\.json is damaged"):
        load_or_create_secrets(tmp_path)
    assert path.read_text() == content


def test_a_private_file_is_replaced_atomically(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    write_private(path, {"a": "x" * 1000})
    write_private(path, {"b": 1})
    assert json.loads(path.read_text()) == {"b": 1}
    assert path.read_text().endswith("\n")
