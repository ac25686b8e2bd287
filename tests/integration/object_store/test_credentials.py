"""Virtual-hosted buckets, session tokens and renewed credentials, with a server that verifies them.

The server computes each signature anew, from the Host header and all parameters.
"""

import json
import socket
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import pytest
from anyio import to_thread
from pydantic import SecretStr

from common.domain.errors import StorageUnavailableError
from common.object_store.storage import Storage
from common.settings import StorageSettings
from deploy.local.processes.child import Child
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import LOOPBACK, free_port
from deploy.local.servers.s3 import S3Server
from tests.conftest import require_server_wheels

KEY = "4/generations/a b-1-0.png"
PIXELS = b"\x89PNG not really"
DOMAIN = "s3.test"

# A credential process: prints a key that expires after the seconds of its file, and counts calls.
PROCESS = """
import json, pathlib, sys
from datetime import UTC, datetime, timedelta
state = pathlib.Path(sys.argv[1])
given = json.loads(state.read_text())
given["calls"] += 1
state.write_text(json.dumps(given))
if given["broken"]:
    sys.exit("broken")
expires = datetime.now(UTC) + timedelta(seconds=given["seconds"])
print(json.dumps({"Version": 1, "AccessKeyId": given["id"], "SecretAccessKey": given["secret"],
    "SessionToken": f"token-{given['calls']}", "Expiration": expires.isoformat()}))
"""


async def read(url: str) -> bytes:
    def fetch() -> bytes:
        with urlopen(url) as response:  # noqa: S310 - our own link
            return bytes(response.read())

    return await to_thread.run_sync(fetch)


async def assert_usable(storage: Storage) -> str:
    """Assert that transfers and links work, and return a link."""
    await storage.put(KEY, PIXELS)
    assert await storage.get(KEY) == PIXELS
    link = await storage.link(KEY)
    assert await read(link) == PIXELS
    return link


@pytest.fixture
async def virtual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3Server]:
    """Yield a server that serves buckets by host name only; all names of its domain are loopback.

    Loopback has no names with dots on every machine, hence the replaced look-up.
    """
    require_server_wheels()
    resolve = socket.getaddrinfo

    def resolve_domain(host: Any, *rest: Any, **more: Any) -> Any:
        inside = isinstance(host, str) and host.endswith(DOMAIN)
        return resolve(LOOPBACK if inside else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_domain)
    server = S3Server(tmp_path, free_port(), "test-key", "test-secret")
    await server.prepare()
    by_path = server.child()
    by_host = Child(
        name=by_path.name,
        command=(*by_path.command, "--force-path-style=false"),
        environment=by_path.environment,
        ready=by_path.ready,
    )
    async with Supervisor(tmp_path / "logs") as supervisor:
        await supervisor.start(by_host)
        yield server


async def test_a_virtual_hosted_bucket_is_used(virtual: S3Server) -> None:
    endpoint = f"http://{DOMAIN}:{virtual.port}"
    given = virtual.settings().model_copy(update={"endpoint_url": endpoint})
    storage = Storage(given.model_copy(update={"addressing_style": "virtual"}))
    link = await assert_usable(storage)
    assert urlsplit(link).netloc == f"infill.{DOMAIN}:{virtual.port}"
    page = await storage.list_page(None)
    assert [found.key for found in page.objects] == [KEY]
    await storage.delete([KEY])
    assert await storage.find(KEY) is None
    storage.close()
    by_path = Storage(given)
    with pytest.raises(StorageUnavailableError):
        await by_path.get(KEY)
    by_path.close()


async def test_a_session_token_is_sent_and_signed(bucket: StorageSettings) -> None:
    storage = Storage(bucket.model_copy(update={"session_token": SecretStr("a/token+==")}))
    link = await assert_usable(storage)
    assert parse_qs(urlsplit(link).query)["X-Amz-Security-Token"] == ["a/token+=="]
    storage.close()


def chained(bucket: StorageSettings) -> StorageSettings:
    """Return the settings without keys, as where a role provides them."""
    return bucket.model_copy(update={"access_key_id": None, "secret_access_key": None})


async def test_keys_of_the_environment_are_used(
    bucket: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id, secret = bucket.fixed_keys or ("", "")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "from-the-environment")
    storage = Storage(chained(bucket))
    link = await assert_usable(storage)
    assert "X-Amz-Security-Token=from-the-environment" in link
    storage.close()


class Role:
    """Temporary credentials that boto3 gets from a process and renews before they expire."""

    def __init__(self, folder: Path, bucket: StorageSettings) -> None:
        self._state = folder / "state.json"
        key_id, secret = bucket.fixed_keys or ("", "")
        given = {"id": key_id, "secret": secret, "calls": 0, "broken": False}
        self._state.write_text(json.dumps({**given, "seconds": 3600}))
        program = folder / "process.py"
        program.write_text(PROCESS)
        self.config = folder / "config"
        command = f"{sys.executable} {program} {self._state}"
        self.config.write_text(f"[default]\ncredential_process = {command}\n")

    @property
    def calls(self) -> int:
        """How often the process ran."""
        return int(json.loads(self._state.read_text())["calls"])

    def change(self, **changes: object) -> None:
        """Change what the process prints from now on."""
        self._state.write_text(json.dumps({**json.loads(self._state.read_text()), **changes}))


@pytest.fixture
def role(tmp_path: Path, bucket: StorageSettings, monkeypatch: pytest.MonkeyPatch) -> Role:
    """Return a role that boto3 finds as it would find one of a cluster or a machine."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    role = Role(tmp_path, bucket)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(role.config))
    return role


async def test_credentials_of_a_role_are_used_and_end_links(
    bucket: StorageSettings, role: Role
) -> None:
    storage = Storage(chained(bucket))
    link = await assert_usable(storage)
    query = parse_qs(urlsplit(link).query)
    assert query["X-Amz-Security-Token"] == ["token-1"]
    assert 0 < int(query["X-Amz-Expires"][0]) <= 3600 < bucket.presigned_seconds
    assert role.calls == 1
    storage.close()


async def test_credentials_of_a_role_are_renewed_for_links_and_transfers(
    bucket: StorageSettings, role: Role
) -> None:
    """Credentials in their last minutes are renewed by the next link, without a transfer."""
    role.change(seconds=60)
    storage = Storage(chained(bucket))
    role.change(seconds=3600)
    link = await storage.link(KEY)
    query = parse_qs(urlsplit(link).query)
    assert query["X-Amz-Security-Token"] == [f"token-{role.calls}"] != ["token-1"]
    begun = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    end = begun + timedelta(seconds=int(query["X-Amz-Expires"][0]))
    assert end > datetime.now(UTC) + timedelta(minutes=50)  # noqa: TID251 the store's clock
    await assert_usable(storage)
    storage.close()


async def test_a_role_that_fails_is_the_store_s_outage(bucket: StorageSettings, role: Role) -> None:
    role.change(seconds=60)
    storage = Storage(chained(bucket))
    role.change(broken=True)
    with pytest.raises(StorageUnavailableError):
        await storage.link(KEY)
    with pytest.raises(StorageUnavailableError):
        await storage.put(KEY, PIXELS)
    role.change(broken=False, seconds=3600)
    await assert_usable(storage)
    storage.close()
