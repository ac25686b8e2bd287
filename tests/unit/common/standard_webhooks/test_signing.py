import base64
from datetime import UTC, datetime
from uuid import UUID

import pytest
from cryptography.exceptions import InvalidSignature
from standardwebhooks import Webhook, WebhookVerificationError

from common.runtime.clock import utc_now
from common.standard_webhooks.keys import load_signing_key, new_secret, new_signing_key
from common.standard_webhooks.signing import signed_headers

ID = UUID("0b1f7f0e-6a35-4b53-9a44-0f6f3fb7c1ab")
BODY = '{"status":"success","prompt":"ein Kätzchen"}'.encode()


def test_the_published_example_has_the_same_signature() -> None:
    # From the specification's reference implementations.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = signed_headers(ID, at, b'{"test": 2432232314}', secrets=[secret])
    expected = Webhook(secret).sign(str(ID), at, '{"test": 2432232314}')
    assert headers == {
        "webhook-id": str(ID),
        "webhook-timestamp": "1614265330",
        "webhook-signature": expected,
    }


def test_every_live_secret_verifies() -> None:
    old, new = new_secret(), new_secret()
    headers = signed_headers(ID, utc_now(), BODY, secrets=[new, old])
    for secret in (old, new):
        assert Webhook(secret).verify(BODY, headers)["status"] == "success"


@pytest.mark.parametrize("body", [BODY + b" ", BODY[:-1]])
def test_another_body_or_secret_does_not_verify(body: bytes) -> None:
    secret = new_secret()
    headers = signed_headers(ID, utc_now(), BODY, secrets=[secret])
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, headers)


def test_the_public_key_verifies_v1a() -> None:
    key = load_signing_key(new_signing_key())
    headers = signed_headers(ID, utc_now(), BODY, secrets=[new_secret()], key=key)
    symmetric, asymmetric = headers["webhook-signature"].split(" ")
    assert symmetric.startswith("v1,")
    signature = base64.b64decode(asymmetric.removeprefix("v1a,"))
    content = f"{ID}.{headers['webhook-timestamp']}.".encode() + BODY
    key.public_key().verify(signature, content)
    with pytest.raises(InvalidSignature):
        key.public_key().verify(signature, content + b" ")


def test_without_secret_and_key_there_is_no_signature() -> None:
    assert "webhook-signature" not in signed_headers(ID, utc_now(), BODY, secrets=[])


@pytest.mark.parametrize("secret", ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_???", "whsec_abc"])
def test_a_malformed_secret_is_rejected(secret: str) -> None:
    with pytest.raises(ValueError, match=r"whsec_|base64|padding"):
        signed_headers(ID, utc_now(), BODY, secrets=[secret])
