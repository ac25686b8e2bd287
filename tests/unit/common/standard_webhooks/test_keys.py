import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook

from common.domain.errors import ConfigurationError
from common.standard_webhooks.keys import (
    key_id,
    load_signing_key,
    new_secret,
    new_signing_key,
    public_key,
)


def written_key(raw: bytes) -> str:
    return "whsk_" + base64.b64encode(raw).decode()


def test_a_secret_has_32_bytes_and_is_accepted_by_receivers() -> None:
    secret = new_secret()
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert Webhook(secret)
    assert secret != new_secret()


def test_the_public_key_verifies_a_signature() -> None:
    private = load_signing_key(new_signing_key())
    public = base64.b64decode(public_key(private).removeprefix("whpk_"))
    Ed25519PublicKey.from_public_bytes(public).verify(private.sign(b"content"), b"content")


def test_a_private_key_may_include_its_public_half() -> None:
    seed = bytes(range(32))
    short = load_signing_key(written_key(seed))
    long = load_signing_key(written_key(seed + short.public_key().public_bytes_raw()))
    assert public_key(short) == public_key(long)
    assert key_id(short) == key_id(long)


def test_the_key_id_depends_on_the_public_key() -> None:
    first, second = (load_signing_key(new_signing_key()) for _ in range(2))
    assert len(key_id(first)) == 16
    assert key_id(first) != key_id(second)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsk_",
        "whsk_é",
        "whsk_AAAA",
        written_key(b"x" * 33),
        written_key(b"x" * 32)[5:],
        "whsk_=",
    ],
)
def test_the_error_about_a_malformed_key_does_not_show_it(text: str) -> None:
    with pytest.raises(ConfigurationError, match="INFILL_WEBHOOK_SIGNING_KEY is not") as caught:
        load_signing_key(text)
    assert len(text) < 6 or text not in caught.value.message
