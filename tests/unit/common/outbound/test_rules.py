"""URLs allowed and rejected by the operator's settings, before any look-up."""

from ipaddress import ip_address
from typing import Any

import pytest

from common.domain.errors import AddressNotAllowedError, ConfigurationError
from common.outbound import Guard
from common.outbound.internal_hosts import is_private
from common.settings import OutboundSettings
from tests.hostile.tables import operator_rules as operators


@pytest.mark.parametrize(("given", "url", "why"), operators.LISTED + operators.REFUSED, ids=repr)
def test_settings_reject(given: dict[str, Any], url: str, why: str) -> None:
    guard = Guard(OutboundSettings(**given))
    with pytest.raises(AddressNotAllowedError) as caught:
        guard.check(url, webhook=True)
    assert caught.value.message, why


@pytest.mark.parametrize(("given", "url"), operators.PASSES, ids=repr)
def test_settings_allow(given: dict[str, Any], url: str) -> None:
    assert Guard(OutboundSettings(**given)).check(url, webhook=True)


def test_https_only_is_for_webhooks() -> None:
    guard = Guard(OutboundSettings(webhooks_https_only=True))
    assert guard.check("http://example.com/").scheme == "http"


@pytest.mark.parametrize("host", ["\u2488.example", "https://example.com", "a b.example", ""])
def test_an_invalid_denied_host_is_a_configuration_error(host: str) -> None:
    with pytest.raises(ConfigurationError, match="INFILL_OUTBOUND_DENIED_HOSTS"):
        Guard(OutboundSettings(denied_hosts={host}))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("", "must be a name such as app:3000"),
        ("*", "must be a name such as app:3000"),
        ("http://app", "must be a name such as app:3000"),
        ("a*.example.com", "must be a name such as app:3000"),
        ("app:http", "must be a name such as app:3000"),
        ("app:0", "the port must be from 1 to 65535"),
        ("app:70000", "the port must be from 1 to 65535"),
        ("a b", "no valid host name"),
        ("10.0.0.1", "use INFILL_OUTBOUND_ALLOWED_NETWORKS for addresses"),
        ("*.com", "opens a whole top-level domain"),
    ],
)
def test_an_invalid_internal_host_is_a_configuration_error(entry: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        Guard(OutboundSettings(internal_hosts=(entry,)))
    assert repr(entry) in caught.value.message
    assert "INFILL_OUTBOUND_INTERNAL_HOSTS" in caught.value.message


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "172.17.0.2", "192.168.1.1", "100.64.0.1", "fd12:3456::1"]
)
def test_an_internal_host_may_have_a_private_address(address: str) -> None:
    assert is_private(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "::1", "0.0.0.0", "169.254.169.254", "fe80::1", "224.0.0.1", "172.32.0.1"),
        *("100.100.100.200", "fd00:ec2::254", "fd20:ce::254", "::ffff:10.0.0.1", "64:ff9b::a00:1"),
    ],
)
def test_an_internal_host_may_not_have_this_address(address: str) -> None:
    assert not is_private(ip_address(address))
