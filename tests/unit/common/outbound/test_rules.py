"""What the operator's settings open and shut, before any look-up."""

from typing import Any

import pytest

from common.domain.errors import AddressNotAllowedError, ConfigurationError
from common.outbound import Guard
from common.settings import OutboundSettings

SETTINGS = [
    # settings, URL, whether a webhook may go there
    ({"allowed_ports": {8443}}, "http://example.com:8443/", True),
    ({"allowed_ports": {8443}}, "http://example.com:8444/", False),
    ({"allowed_ports": {0}}, "http://example.com:1/", True),
    ({"allowed_ports": {0}}, "http://example.com:65535/", True),
    ({"allowed_ports": {0}}, "http://example.com:65536/", False),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://127.0.0.1/", True),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://127.0.0.1:9000/", True),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://127.0.0.1:65536/", False),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://8.8.8.8:9000/", False),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://example.com:9000/", False),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://127.1/", False),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://127。0。0。1/", False),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://localhost/", False),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://x.localhost/", False),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://0.0.0.0/", False),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://10.0.0.1/", False),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://[::1]/", False),
    ({"allowed_networks": ["127.0.0.0/8"]}, "http://[::ffff:127.0.0.1]/", False),
    ({"allowed_networks": ["::/0", "0.0.0.0/0"]}, "http://[::ffff:10.0.0.1]/", False),
    ({"allowed_networks": ["::1/128"]}, "http://[::1]/", True),
    (
        {"allowed_networks": ["10.0.0.0/8"], "denied_networks": ["10.1.0.0/16"]},
        "http://10.1.0.1/",
        False,
    ),
    (
        {"allowed_networks": ["10.0.0.0/8"], "denied_networks": ["10.1.0.0/16"]},
        "http://10.2.0.1/",
        True,
    ),
    ({"denied_networks": ["8.8.8.0/24"]}, "http://8.8.8.8/", False),
    ({"denied_networks": ["2606:4700::/32"]}, "http://[2606:4700::1]/", False),
    ({"denied_hosts": {"Infill.Example."}}, "http://infill.example/", False),
    ({"denied_hosts": {"infill.example"}}, "http://API.infill.example./", False),
    ({"denied_hosts": {"infill.example"}}, "http://notinfill.example/", True),
    ({"denied_hosts": {"bücher.example"}}, "http://xn--bcher-kva.example/", False),
    ({"denied_hosts": {"8.8.8.8"}}, "http://8.8.8.8/", False),
    ({"webhooks_https_only": True}, "http://example.com/", False),
    ({"webhooks_https_only": True}, "https://example.com/", True),
]


@pytest.mark.parametrize(("given", "url", "passes"), SETTINGS)
def test_settings_decide(given: dict[str, Any], url: str, *, passes: bool) -> None:
    guard = Guard(OutboundSettings(**given))
    if passes:
        assert guard.check(url, webhook=True)
    else:
        with pytest.raises(AddressNotAllowedError):
            guard.check(url, webhook=True)


def test_https_only_is_for_webhooks() -> None:
    guard = Guard(OutboundSettings(webhooks_https_only=True))
    assert guard.check("http://example.com/").scheme == "http"


def test_a_denied_host_that_is_none_is_the_operators_to_mend() -> None:
    with pytest.raises(ConfigurationError, match="INFILL_OUTBOUND_DENIED_HOSTS"):
        Guard(OutboundSettings(denied_hosts={"①.example"}))
