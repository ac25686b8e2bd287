"""Generator of the tables of settings in the documentation.

`python -m deploy.cli.settings_table` rewrites the tables; a test fails if they are out of date.
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


def list_sections() -> Iterator[type[Section]]:
    """Yield all sections of the settings, in the order of `Settings`."""
    for member in vars(Settings).values():
        if isinstance(member, cached_property):
            yield get_type_hints(member.func)["return"]


def list_variables() -> dict[str, FieldInfo]:
    """Return the fields of all settings, keyed by the name of the environment variable."""
    return {
        f"{section.model_config['env_prefix']}{name}".upper(): field
        for section in list_sections()
        for name, field in section.model_fields.items()
    }


def rewrite_page(page: str) -> str:
    """Return the Markdown `page` with the tables between its markers regenerated.

    A table begins with the marker `<!-- settings: all -->`, or with the names of variables instead
    of `all`, and ends with the marker `<!-- end of settings -->`.
    """
    before, *marked = page.split(BEGIN)
    return before + "".join(_render_table(part) for part in marked)


def write(root: Path) -> None:
    """Rewrite the tables of settings in all documentation pages under `root`."""
    for name in PAGES:
        page = root / name
        page.write_text(rewrite_page(page.read_text(encoding="utf-8")), encoding="utf-8")


def _render_table(part: str) -> str:
    names, _, rest = part.partition(" -->")
    _, _, after = rest.partition(END)
    known = list_variables()
    chosen = list(known) if names == ALL else names.split()
    rows = [_row(name, known[name]) for name in chosen]
    table = "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])
    return f"{BEGIN}{names} -->\n{table}\n{END}{after}"


def _row(name: str, field: FieldInfo) -> str:
    meaning = (field.description or "").replace("|", "\\|")
    return f"| `{name}` | {_format_default(field.default)} | {meaning} |"


def _format_default(default: Any) -> str:
    """Return a setting's default as it would be written in the environment, as Markdown code."""
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
