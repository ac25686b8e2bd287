"""Presigned links: URLs that give read access to an object for a limited time (AWS SigV4).

The signing key depends on the day and the access key, so it is cached for as long as these stay.
boto3 makes the same links but is a hundred times slower, which matters because a gateway makes
several per response.
"""

import hashlib
import hmac
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlsplit

from common.object_store.credentials import AccessKey

ALGORITHM: Final = "AWS4-HMAC-SHA256"
SERVICE: Final = "s3"
TERMINATOR: Final = "aws4_request"


class Presigner:
    """Creates presigned links to the objects of one bucket without any I/O."""

    def __init__(self, *, endpoint_url: str, bucket: str, region: str, virtual: bool) -> None:
        """Prepare links to `bucket`, which is part of the host name if `virtual`, else of the path.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
        """
        parts = urlsplit(endpoint_url)
        self._host = f"{bucket}.{parts.netloc}" if virtual else parts.netloc
        self._origin = f"{parts.scheme}://{self._host}"
        self._folder = parts.path.rstrip("/")
        if not virtual:
            self._folder += f"/{quote(bucket, safe='-_.~')}"
        self._region = region
        self._signer = _Signer("", region, AccessKey("", ""))

    def link(self, key: str, *, access_key: AccessKey, seconds: int, now: datetime) -> str:
        """Return a URL that gives read access to `key` for `seconds` from `now` (aware, UTC).

        A link made with temporary credentials ends with these, so its time is cut to theirs.
        Source: AWS Signature Version 4 for API requests, authentication by query parameters.
        """
        stamp = f"{now:%Y%m%dT%H%M%SZ}"
        if not self._signer.serves(stamp[:8], access_key):
            self._signer = _Signer(stamp[:8], self._region, access_key)
        if access_key.expires_at is not None:
            left = int((access_key.expires_at - now).total_seconds())
            seconds = max(1, min(seconds, left))
        path = f"{self._folder}/{quote(key, safe='/-_.~')}"
        # Sorted by name, as the signature requires.
        query = (
            f"X-Amz-Algorithm={ALGORITHM}"
            f"&X-Amz-Credential={self._signer.credential}"
            f"&X-Amz-Date={stamp}&X-Amz-Expires={seconds}"
            f"{self._signer.token}&X-Amz-SignedHeaders=host"
        )
        canonical = f"GET\n{path}\n{query}\nhost:{self._host}\n\nhost\nUNSIGNED-PAYLOAD"
        signature = self._signer.sign(stamp, canonical)
        return f"{self._origin}{path}?{query}&X-Amz-Signature={signature}"


class _Signer:
    """The signing key of one access key on one day (`YYYYMMDD`), and what links say about it."""

    def __init__(self, day: str, region: str, access_key: AccessKey) -> None:
        self._day, self._access_key = day, access_key
        key = f"AWS4{access_key.secret}".encode()
        for part in (day, region, SERVICE, TERMINATOR):
            key = hmac.digest(key, part.encode(), "sha256")
        self._signing_key = key
        self._scope = f"{day}/{region}/{SERVICE}/{TERMINATOR}"
        self.credential = quote(f"{access_key.key_id}/{self._scope}", safe="-_.~")
        token = access_key.token
        self.token = "" if token is None else f"&X-Amz-Security-Token={quote(token, safe='-_.~')}"

    def serves(self, day: str, access_key: AccessKey) -> bool:
        """Return whether this is the signing key for `access_key` on `day`."""
        return (self._day, self._access_key) == (day, access_key)

    def sign(self, stamp: str, canonical: str) -> str:
        """Return the signature of a canonical request."""
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"{ALGORITHM}\n{stamp}\n{self._scope}\n{digest}"
        return hmac.digest(self._signing_key, to_sign.encode(), "sha256").hex()
