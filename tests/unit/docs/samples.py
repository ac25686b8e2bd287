"""The code docs/webhooks.md shows to receivers."""

import re
from pathlib import Path
from typing import Any, Final

PAGE: Final = Path(__file__).parents[3] / "docs/webhooks.md"


def samples(language: str) -> list[str]:
    """Give the page's blocks of code in a language."""
    page = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def python_samples() -> dict[str, Any]:
    """Run the page's Python, and give what it defines."""
    defined: dict[str, Any] = {}
    for code in samples("python"):
        exec(code, defined)  # noqa: S102 - our own page
    return defined
