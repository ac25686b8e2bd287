"""The local stack: Postgres, Redis and S3, and Infill's processes started as in production."""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.settings import Settings
from common.settings.section import export_environment, is_set
from deploy.local.credentials import Credentials, ensure_credentials
from deploy.local.local_secrets import LocalSecrets, load_or_create_secrets
from deploy.local.processes.child import Child
from deploy.local.processes.readiness import responds_ok
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import LOOPBACK, check_port_free, free_port
from deploy.local.servers.stores import Report, prepare_stores, start_stores

# Loading a model can take long if it is downloaded from the hub first.
MODEL_SECONDS = 1800.0
START_SECONDS = 60.0
OWN_MODEL = "shapes-inpainting"
# Models a local stack serves by default: our own small one, and a stand-in that generates noise
# for the endpoints it does not support.
SERVED = (OWN_MODEL, "standin")


@dataclass(frozen=True, slots=True)
class Stack:
    """A running local stack: the credentials for it and the settings of its processes."""

    credentials: Credentials
    settings: Settings


async def start_stack(home: Path, port: int, supervisor: Supervisor, report: Report) -> Stack:
    """Start all servers and processes, and return the stack once all are ready.

    The gateway listens on `port`. `report` is called with a description before each step. Settings
    that are already in the environment stay as they are.

    Raises:
        ConfigurationError: a process could not start; the message has the reason and the end of its
            log.
    """
    check_port_free(port, "the gateway")
    secrets = load_or_create_secrets(home)
    export_environment(default_settings(home, port, secrets))
    export_environment(await start_stores(home, secrets, supervisor, report))
    settings = Settings()
    await prepare_stores(settings, report)
    credentials = await ensure_credentials(home, settings)
    report("starting the gateway, the worker and the dispatcher")
    await _start_together(supervisor, worker_process(), dispatcher_process(), gateway_process(port))
    return Stack(credentials, settings)


def default_settings(home: Path, port: int, secrets: LocalSecrets) -> dict[str, str]:
    """Return the environment variables of a local stack, except those that are already set."""
    defaults: dict[str, Any] = {
        "INFILL_PUBLIC_URL": f"http://{LOOPBACK}:{port}",
        "INFILL_API_KEY_PEPPER": secrets.api_key_pepper,
        "INFILL_ADMIN_KEY": secrets.admin_key,
        "INFILL_WEBHOOK_SIGNING_KEY": secrets.webhook_signing_key,
        "INFILL_MODELS_DIRECTORY": str(home / "models"),
        "INFILL_MODELS_SERVE": json.dumps(SERVED),
        # Allows images and webhooks on this machine.
        "INFILL_OUTBOUND_ALLOWED_NETWORKS": json.dumps([f"{LOOPBACK}/32"]),
    }
    return {name: value for name, value in defaults.items() if not is_set(name)}


def gateway_process(port: int) -> Child:
    """Return the description of a gateway process that listens on `port`."""
    return Child(
        name="gateway",
        command=_command("gateway", "--host", LOOPBACK, "--port", str(port)),
        ready=lambda: responds_ok(port),
    )


def worker_process() -> Child:
    """Return the description of a worker process, which is ready when its models are loaded."""
    return _watched("worker", MODEL_SECONDS)


def dispatcher_process() -> Child:
    """Return the description of a webhook dispatcher process."""
    return _watched("dispatcher", START_SECONDS)


async def _start_together(supervisor: Supervisor, *children: Child) -> None:
    try:
        async with asyncio.TaskGroup() as starting:
            for child in children:
                starting.create_task(supervisor.start(child))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None  # the other starts were canceled because of it


def _watched(name: str, ready_seconds: float) -> Child:
    status_port = free_port()
    return Child(
        name=name,
        command=_command(name),
        environment={"INFILL_STATUS_PORT": str(status_port)},
        ready=lambda: responds_ok(status_port),
        ready_seconds=ready_seconds,
    )


def _command(name: str, *options: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "deploy.cli", name, *options)
