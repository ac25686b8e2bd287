"""URLs allowed and rejected by the operator's settings, before any look-up."""

from typing import Any

import pytest

from common.domain.errors import AddressNotAllowedError, ConfigurationError
from common.outbound import Guard
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
