"""`infill up`: serve on one machine until told to stop."""

import asyncio
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from common.domain.errors import ConfigurationError
from deploy.local.credentials import published
from deploy.local.home import held
from deploy.local.interrupt import until_interrupted
from deploy.local.processes import Supervisor
from deploy.local.stack import Stack, start_stack

RANDOM_WEIGHTS = (
    "The stand-in models have RANDOM weights: they draw noise where the mask is white. "
    "Everything else is real."
)


def up(home: Path, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
        ConfigurationError: a part could not start, or one died; the others have been stopped.
    """
    with held(home):
        asyncio.run(until_interrupted(_serve(home, port)))
    Console().print("stopped")


async def _serve(home: Path, port: int) -> None:
    console = Console(highlight=False, soft_wrap=True)
    async with Supervisor(home / "logs") as supervisor:
        with console.status("starting") if console.is_terminal else nullcontext():
            stack = await start_stack(home, port, supervisor, report=console.print)
        with published(stack.credentials, home) as path:
            _greet(console, stack, path)
            death = await supervisor.wait_for_death()
            raise ConfigurationError(f"{death}\nThe other parts have been stopped.")


def _greet(console: Console, stack: Stack, credentials: Path) -> None:
    base_url = stack.credentials.base_url
    console.print(f"\nInfill answers at {base_url} (interactive docs: {base_url}/docs)")
    console.print(f"credentials: {credentials}")
    if any(name.startswith("standin") for name in stack.settings.models.serve):
        console.print(RANDOM_WEIGHTS)
    console.print("\nTry it:\n")
    console.print(curl_line(stack), markup=False)
    console.print("\nStop with Ctrl-C.")


def curl_line(stack: Stack) -> str:
    """Give a request ready to paste; text to image needs no picture of the reader's."""
    given = stack.credentials
    body = (
        f'{{"key": "{given.api_key}", "prompt": "a cat sitting on a bench", '
        '"width": 256, "height": 256, "num_inference_steps": 21}'
    )
    return (
        f"curl -s {given.base_url}/api/v3/text2img -H 'Content-Type: application/json' -d '{body}'"
    )
