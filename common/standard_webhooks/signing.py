"""Sign webhooks as Standard Webhooks 1.0.0 says; pure functions.

The signed bytes are `id.timestamp.body`. `v1` is HMAC-SHA256 with a secret shared with the tenant;
`v1a` is ed25519 with a key of the installation, whose public half is published.
Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - a prefix, not a secret


def signed_headers(
    delivery_id: UUID,
    at: datetime,
    body: bytes,
    *,
    secrets: Iterable[str],
    key: Ed25519PrivateKey | None = None,
) -> dict[str, str]:
    """Return the three Standard Webhooks headers of one attempt made at the time `at`.

    `delivery_id` is the same for every attempt. There is one `v1` signature for each of `secrets`
    (`whsec_` and base64), and a `v1a` signature if `key` is given. Without secrets and key, the
    signature header is omitted.

    Raises:
        ValueError: a secret is not `whsec_` followed by base64.
    """
    timestamp = str(int(at.timestamp()))
    content = f"{delivery_id}.{timestamp}.".encode() + body
    signatures = [f"v1,{_symmetric(secret, content)}" for secret in secrets]
    if key is not None:
        signatures.append(f"v1a,{_base64(key.sign(content))}")
    headers = {"webhook-id": str(delivery_id), "webhook-timestamp": timestamp}
    if signatures:
        headers["webhook-signature"] = " ".join(signatures)
    return headers


def _symmetric(secret: str, content: bytes) -> str:
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"a webhook secret begins with `{SECRET_PREFIX}`")
    shared = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    return _base64(hmac.digest(shared, content, hashlib.sha256))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
