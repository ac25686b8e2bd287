"""The rooms in docs/architecture.md are those on the disk, and none is too large."""

import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/architecture.md"
PACKAGES = ("api", "common", "worker", "deploy")
MOST_FILES = 14
# Of files at the top of a folder, besides __init__ and __main__.
MOST_LOOSE = {"common": 0, "api": 6, "worker": 12, "common/postgres/repositories": 1}
MOST_IN_A_REPOSITORY = 10


def listed_rooms() -> Iterator[str]:
    """Read the folders of the tree, each with its path, and make sure each is described."""
    block = PAGE.read_text(encoding="utf-8").split("<!-- rooms -->\n```\n")[1].split("\n```")[0]
    path: list[str] = []
    for line in block.splitlines():
        match = re.fullmatch(r"((?:  )*)(\w+)/ +(\S.*)", line)
        assert match, line
        indent, name, _role = match.groups()
        path = [*path[: len(indent) // 2], name]
        yield "/".join(path)


def folders(*roots: str) -> Iterator[Path]:
    """Find the folders below `roots` that hold Python files."""
    for root in roots:
        for folder in (ROOT / root, *(ROOT / root).rglob("*")):
            if folder.is_dir() and any(folder.glob("*.py")):
                yield folder


def modules(folder: Path) -> list[str]:
    dunder = ("__init__.py", "__main__.py")
    return sorted(file.name for file in folder.glob("*.py") if file.name not in dunder)


def test_the_page_shows_the_folders_on_the_disk() -> None:
    here = {str(folder.relative_to(ROOT)) for folder in folders(*PACKAGES, "migrations")}
    assert {room for room in listed_rooms() if room not in {"tests", "docs"}} == here


@pytest.mark.parametrize(
    "folder",
    list(folders(*PACKAGES, "migrations", "tests")),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_room_is_too_large(folder: Path) -> None:
    inside = modules(folder)
    name = str(folder.relative_to(ROOT))
    most = MOST_LOOSE.get(name, MOST_FILES)
    if folder.parent.name == "repositories" and folder.is_relative_to(ROOT / "common"):
        most = MOST_IN_A_REPOSITORY
    assert len(inside) <= most, inside


def test_there_are_no_import_cycles() -> None:
    graph = grimp.build_graph(*PACKAGES)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:  # pragma: no cover - names the circle
        pytest.fail(" → ".join(error.args[1]))
