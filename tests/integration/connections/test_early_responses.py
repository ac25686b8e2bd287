"""A response sent before the body was read reaches clients that send first and read later."""

import asyncio
import shutil
import urllib.error
import urllib.request
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.connections.site import Site, serving

LARGE = b"x" * 3_000_000
LARGER = b"x" * 8_000_000
EARLY = b"POST /early HTTP/1.1\r\nHost: a\r\n"
CLOSE = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

CLIENT = """
import java.net.URI;
import java.net.http.*;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

public class Client {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (String path : new String[] {"/echo", "/early", "/echo"}) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0] + path))
                .POST(BodyPublishers.ofString("abc".repeat(1000))).build();
            HttpResponse<String> response = client.send(request, BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.body());
        }
    }
}
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as running:
        yield running


def test_urllib_reads_the_error_after_sending_three_megabytes(site: Site) -> None:
    url = f"http://127.0.0.1:{site.port}/early"
    for _ in range(5):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(url, LARGE)
        assert caught.value.code == 401
        assert caught.value.read() == b'{"early": true}'


@pytest.mark.parametrize("coding", ["length", "chunks"])
def test_the_connection_stays_open_after_the_rest_is_read(site: Site, coding: str) -> None:
    if coding == "length":
        body = b"Content-Length: %d\r\n\r\n" % len(LARGER) + LARGER
    else:
        body = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(LARGER) + LARGER + b"\r\n0\r\n\r\n"
    early, last = site.exchange(EARLY + body, CLOSE)
    assert (early.status, last.status) == (401, 200)
    assert "connection" not in early.headers


def test_an_http_error_is_read_after_sending_the_rest(site: Site) -> None:
    (response,) = site.exchange(b"POST /" + b"x" * 20_000 + LARGER)
    assert response.status == 414


def test_a_body_over_the_limit_of_discarded_bytes_closes_the_connection() -> None:
    with serving(drain_bytes=1_000_000) as site:
        client = site.connect()
        client.send(EARLY + b"Content-Length: %d\r\n\r\n" % len(LARGER) + LARGE[:900_000])
        response = client.read()
        assert response is not None
        assert (response.status, response.headers["connection"]) == (401, "close")
        assert client.read() is None
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            client.send(LARGER * 10)


def test_a_client_that_stops_sending_after_its_response_is_disconnected() -> None:
    with serving(drain_pause_seconds=0.3) as site:
        early, *none = site.exchange(EARLY + b"Content-Length: 1000\r\n\r\n")
        assert (early.status, none) == (401, [])


def test_a_refused_client_that_expects_100_does_not_get_it(site: Site) -> None:
    client = site.connect()
    client.send(EARLY + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    response = client.read()
    assert response is not None
    assert (response.status, response.headers["connection"]) == (401, "close")


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_with_expect_does_not_send_a_refused_body(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_bytes(LARGE)
    shown = "%{http_code} %{size_upload}"
    options = ("-s", "-o", str(tmp_path / "response"), "-w", shown, "-H", "Expect: 100-continue")
    url = f"http://127.0.0.1:{site.port}"
    refused = await run("curl", *options, "--data-binary", f"@{file}", f"{url}/early")
    assert refused == "401 0"
    accepted = await run("curl", *options, "--data-binary", f"@{file}", f"{url}/echo")
    assert accepted == f"200 {len(LARGE)}"


@pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed")
async def test_the_http_client_of_java_is_served(site: Site, tmp_path: Path) -> None:
    program = tmp_path / "Client.java"
    program.write_text(CLIENT)
    output = await run(
        *("java", "-XX:TieredStopAtLevel=1", str(program), f"http://127.0.0.1:{site.port}")
    )
    first, early, second = output.splitlines()
    assert first == second
    assert first.startswith("200 ")
    assert '"length": 3000' in first
    assert early == '401 {"early": true}'
