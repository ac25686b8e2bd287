"""What docs/webhooks.md tells receivers to run verifies what we send."""

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from common.clock import utc_now
from common.webhook_keys import load_signing_key, new_secret, new_signing_key, public_key
from common.webhook_signing import signed_headers

PAGE = Path(__file__).parents[3] / "docs/webhooks.md"
BODY = b'{"status": "success", "track_id": "order-7"}'
EVENT = {"status": "success", "track_id": "order-7"}


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """Run the page's Python, and give what it defines."""
    defined: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(code, defined)  # noqa: S102 - our own page
    return defined


def test_v1_is_verified(page: dict[str, Any]) -> None:
    old, new = new_secret(), new_secret()
    headers = signed_headers(uuid4(), utc_now(), BODY, secrets=[new, old])
    assert page["verified"](old, headers, BODY) == page["verified"](new, headers, BODY) == EVENT
    with pytest.raises(WebhookVerificationError):
        page["verified"](new_secret(), headers, BODY)


def test_v1a_is_verified(page: dict[str, Any]) -> None:
    key = load_signing_key(new_signing_key())
    headers = signed_headers(uuid4(), utc_now(), BODY, secrets=[new_secret()], key=key)
    assert page["verified_v1a"](public_key(key), headers, BODY) == EVENT
    with pytest.raises(ValueError, match="no signature fits"):
        page["verified_v1a"](public_key(key), headers, BODY + b" ")
    with pytest.raises(ValueError, match="too old"):
        page["verified_v1a"](public_key(key), headers | {"webhook-timestamp": "1"}, BODY)
