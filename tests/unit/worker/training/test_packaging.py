"""Training is a tool of the repository: no installed package contains it."""

import tomllib
from pathlib import Path

from setuptools.discovery import PEP420PackageFinder  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[4]


def installed_packages() -> list[str]:
    """Return the packages a wheel contains, found as setuptools finds them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    find = project["tool"]["setuptools"]["packages"]["find"]
    packages: list[str] = PEP420PackageFinder.find(
        str(ROOT), exclude=find["exclude"], include=find["include"]
    )
    return packages


def test_the_wheel_contains_the_product_without_the_training() -> None:
    packages = set(installed_packages())
    assert {"api", "common", "worker", "worker.engine.batching", "deploy.cli"} <= packages
    assert not [name for name in packages if name.startswith("worker.training")]
    assert not [name for name in packages if name.split(".")[0] == "tests"]
