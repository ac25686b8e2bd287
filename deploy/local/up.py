"""`infill up`: run the whole stack on one machine until it is interrupted."""

import asyncio
from contextlib import nullcontext
from pathlib import Path
from shlex import quote

from rich.console import Console

from common.domain.errors import ConfigurationError
from common.domain.generation import Endpoint
from common.settings.catalogue import Catalogue, load_catalogue
from deploy.local.credentials import publish_credentials
from deploy.local.home_lock import lock_home
from deploy.local.processes.interrupt import run_until_interrupted
from deploy.local.processes.supervisor import Supervisor
from deploy.local.sample_server import SAMPLES
from deploy.local.stack import OWN_MODEL, Stack, start_stack

SHAPES_ONLY = (
    "Inpainting is served by the small model that ships with the project: it knows coloured shapes "
    "and nothing else."
)
RANDOM_WEIGHTS = "{} are served by a stand-in with RANDOM weights, which generates noise."


def up(home: Path, port: int) -> None:
    """Run the stack with its data in `home` and the gateway on `port`, until Ctrl-C or SIGTERM.

    Raises:
        ConfigurationError: a process could not start or has ended; the others have been stopped.
    """
    with lock_home(home):
        asyncio.run(run_until_interrupted(_serve(home, port)))
    Console().print("stopped")


async def _serve(home: Path, port: int) -> None:
    console = Console(highlight=False, soft_wrap=True)
    async with Supervisor(home / "logs") as supervisor:
        with console.status("starting") if console.is_terminal else nullcontext():
            stack = await start_stack(home, port, supervisor, report=console.print)
        with publish_credentials(stack.credentials, home) as path:
            _greet(console, stack, path)
            exited = await supervisor.wait_for_exit()
            raise ConfigurationError(f"{exited}\nThe other processes have been stopped.")


def _greet(console: Console, stack: Stack, credentials: Path) -> None:
    base_url = stack.credentials.base_url
    console.print(f"\nInfill is ready at {base_url} (interactive docs: {base_url}/docs)")
    console.print(f"credentials: {credentials}")
    _warn(console, load_catalogue(stack.settings.models))
    console.print("\nTry it:\n")
    console.print(curl_line(stack), markup=False)
    console.print("\nStop with Ctrl-C.")


def _warn(console: Console, catalogue: Catalogue) -> None:
    """Warn if a served model knows only coloured shapes, or if an endpoint generates noise."""
    if catalogue.get(OWN_MODEL):
        console.print(SHAPES_ONLY)
    if noise := [
        endpoint.value
        for endpoint in Endpoint
        if any(entry.has_random_weights for entry in catalogue.find_models(endpoint)[:1])
    ]:
        console.print(RANDOM_WEIGHTS.format(" and ".join(noise)))


def curl_line(stack: Stack) -> str:
    """Return a curl command that sends the sample images to the stack as an inpainting request."""
    given = stack.credentials
    fields = {
        "key": given.api_key,
        "prompt": "a red heart",
        "init_image": f"@{SAMPLES / 'scene.png'}",
        "mask_image": f"@{SAMPLES / 'scene_mask.png'}",
        "width": "256",
        "height": "256",
        "guidance_scale": "2",
    }
    sent = " ".join(f"-F {quote(f'{name}={value}')}" for name, value in fields.items())
    return f"curl -s {given.base_url}/api/v3/inpaint {sent}"
