"""A model hub on loopback: enough of the protocol for downloads, serving one folder."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

REPOSITORY = "infill-tests/standin"
COMMIT = "c0ffee" + "0" * 34


class Hub(BaseHTTPRequestHandler):
    """Serves one repository at one commit."""

    protocol_version = "HTTP/1.1"
    folder: ClassVar[Path]

    def do_HEAD(self) -> None:
        self.respond(with_body=False)

    def do_GET(self) -> None:
        self.respond(with_body=True)

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def respond(self, *, with_body: bool) -> None:
        body = self.body()
        self.send_response(200 if body is not None else 404)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{sha1(body or b"", usedforsecurity=False).hexdigest()}"')
        if body is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if with_body and body:
            self.wfile.write(body)

    def body(self) -> bytes | None:
        path = self.path.partition("?")[0]
        files = [file for file in self.folder.rglob("*") if file.is_file()]
        names = [str(file.relative_to(self.folder)) for file in files]
        if path.startswith(f"/api/models/{REPOSITORY}/tree/"):
            return json.dumps([self.entry(name) for name in names]).encode()
        if path.startswith(f"/api/models/{REPOSITORY}/revision/"):
            siblings = [{"rfilename": name} for name in names]
            return json.dumps({"id": REPOSITORY, "sha": COMMIT, "siblings": siblings}).encode()
        name = path.removeprefix(f"/{REPOSITORY}/resolve/").partition("/")[2]
        return (self.folder / name).read_bytes() if name in names else None

    def entry(self, name: str) -> dict[str, object]:
        data = (self.folder / name).read_bytes()
        oid = sha1(data, usedforsecurity=False).hexdigest()
        return {"type": "file", "path": name, "size": len(data), "oid": oid}


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve `folder` as `REPOSITORY`; yield the hub's address."""
    handler = type("HubOfOneFolder", (Hub,), {"folder": folder})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
