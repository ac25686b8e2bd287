"""Keys and secrets for signing webhooks, in the format of Standard Webhooks 1.0.0."""

import base64
import binascii
import hashlib
import secrets
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.domain.errors import ConfigurationError

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - how secrets start, not one of them
SIGNING_PREFIX: Final = "whsk_"
PUBLIC_PREFIX: Final = "whpk_"

SECRET_BYTES: Final = 32  # the specification asks for 24 to 64
SEED_BYTES: Final = 32
SEED_AND_PUBLIC_BYTES: Final = 64  # how libsodium writes a private key
KEY_ID_LENGTH: Final = 16


def new_secret() -> str:
    """Return a new shared secret for a tenant's `v1` signatures."""
    return SECRET_PREFIX + _to_base64(secrets.token_bytes(SECRET_BYTES))


def new_signing_key() -> str:
    """Return a new private key for an installation's `v1a` signatures."""
    return SIGNING_PREFIX + _to_base64(Ed25519PrivateKey.generate().private_bytes_raw())


def load_signing_key(text: str) -> Ed25519PrivateKey:
    """Parse a private key: `whsk_` followed by the base64 encoding of its 32 bytes.

    The encoded bytes may also include the 32 bytes of the public key after the private key.

    Raises:
        ConfigurationError: the key is malformed; the message never contains the key.
    """
    try:
        raw = base64.b64decode(text.removeprefix(SIGNING_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not text.startswith(SIGNING_PREFIX) or len(raw) not in {SEED_BYTES, SEED_AND_PUBLIC_BYTES}:
        raise ConfigurationError(
            f"INFILL_WEBHOOK_SIGNING_KEY is not `{SIGNING_PREFIX}` and the base64 of an ed25519 "
            "private key; `infill keys webhook` makes one"
        )
    return Ed25519PrivateKey.from_private_bytes(raw[:SEED_BYTES])


def public_key(signing_key: Ed25519PrivateKey) -> str:
    """Return the public key with which receivers verify `v1a` signatures."""
    return PUBLIC_PREFIX + _to_base64(signing_key.public_key().public_bytes_raw())


def key_id(signing_key: Ed25519PrivateKey) -> str:
    """Return a short hash of the public key, which identifies the key to receivers."""
    raw = signing_key.public_key().public_bytes_raw()
    return hashlib.sha256(raw).hexdigest()[:KEY_ID_LENGTH]


def _to_base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
