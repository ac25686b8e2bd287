"""The tables of settings in the documentation, made from the settings themselves.

`python -m deploy.cli.settings_table` writes them anew; a test compares.
"""

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final, get_type_hints

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from common.settings import Section, Settings

PAGES: Final = ("docs/configuration.md",)
BEGIN: Final = "<!-- settings: "
END: Final = "<!-- end of settings -->"
ALL: Final = "all"


def sections() -> Iterator[type[Section]]:
    """Give every section, in the order `Settings` names them."""
    for member in vars(Settings).values():
        if isinstance(member, cached_property):
            yield get_type_hints(member.func)["return"]


def variables() -> dict[str, FieldInfo]:
    """Give every variable that is read, by its name."""
    return {
        f"{section.model_config['env_prefix']}{name}".upper(): field
        for section in sections()
        for name, field in section.model_fields.items()
    }


def rewritten(page: str) -> str:
    """Give `page` with what stands between its marks made anew.

    A mark is `<!-- settings: all -->`, or names the variables to show instead of `all`; it is
    followed by the table and the end mark.
    """
    before, *marked = page.split(BEGIN)
    return before + "".join(_made_anew(part) for part in marked)


def write(root: Path) -> None:
    """Make the tables of all pages under `root` anew."""
    for name in PAGES:
        page = root / name
        page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")


def _made_anew(part: str) -> str:
    names, _, rest = part.partition(" -->")
    _, _, after = rest.partition(END)
    known = variables()
    chosen = list(known) if names == ALL else names.split()
    rows = [_row(name, known[name]) for name in chosen]
    table = "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])
    return f"{BEGIN}{names} -->\n{table}\n{END}{after}"


def _row(name: str, field: FieldInfo) -> str:
    meaning = (field.description or "").replace("|", "\\|")
    return f"| `{name}` | {_spelled(field.default)} | {meaning} |"


def _spelled(default: Any) -> str:
    """Write a default as one would write it in the environment."""
    if default is None:
        return "empty"
    if isinstance(default, SecretStr):
        return f"`{default.get_secret_value()}`"
    if isinstance(default, Path):
        return f"`~/{default.relative_to(Path.home())}`"
    if isinstance(default, bool | tuple | frozenset):
        return f"`{json.dumps(default if isinstance(default, bool) else list(default))}`"
    return f"`{default}`"


if __name__ == "__main__":
    write(Path(__file__).parents[2])
