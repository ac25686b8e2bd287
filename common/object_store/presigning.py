"""Presigned links: URLs that give read access to an object for a limited time (AWS SigV4).

The signing key depends on the day, so it is derived once a day and cached. boto3 makes the same
links but is a hundred times slower, which matters because a gateway makes several per response.
"""

import hashlib
import hmac
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlsplit

ALGORITHM: Final = "AWS4-HMAC-SHA256"
SERVICE: Final = "s3"
TERMINATOR: Final = "aws4_request"


class Presigner:
    """Creates presigned links to the objects of one bucket without any I/O."""

    def __init__(
        self, *, endpoint_url: str, bucket: str, region: str, access_key_id: str, secret: str
    ) -> None:
        parts = urlsplit(endpoint_url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.netloc
        self._folder = f"{parts.path.rstrip('/')}/{quote(bucket, safe='-_.~')}"
        self._region = region
        self._access_key_id = access_key_id
        self._secret = secret
        self._day = self._scope = self._credential = ""
        self._signing_key = b""

    def link(self, key: str, *, seconds: int, now: datetime) -> str:
        """Return a URL that gives read access to `key` for `seconds` from `now` (aware, UTC).

        Source: AWS Signature Version 4 for API requests, authentication by query parameters.
        """
        stamp = f"{now:%Y%m%dT%H%M%SZ}"
        day = stamp[:8]
        if day != self._day:
            self._begin(day)
        path = f"{self._folder}/{quote(key, safe='/-_.~')}"
        # Sorted by name, as the signature requires.
        query = (
            f"X-Amz-Algorithm={ALGORITHM}"
            f"&X-Amz-Credential={self._credential}"
            f"&X-Amz-Date={stamp}&X-Amz-Expires={seconds}&X-Amz-SignedHeaders=host"
        )
        canonical = f"GET\n{path}\n{query}\nhost:{self._host}\n\nhost\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"{ALGORITHM}\n{stamp}\n{self._scope}\n{digest}"
        signature = hmac.digest(self._signing_key, to_sign.encode(), "sha256").hex()
        return f"{self._origin}{path}?{query}&X-Amz-Signature={signature}"

    def _begin(self, day: str) -> None:
        """Derive and cache the signing key and the credential scope for `day` (`YYYYMMDD`)."""
        key = f"AWS4{self._secret}".encode()
        for part in (day, self._region, SERVICE, TERMINATOR):
            key = hmac.digest(key, part.encode(), "sha256")
        self._day, self._signing_key = day, key
        self._scope = f"{day}/{self._region}/{SERVICE}/{TERMINATOR}"
        self._credential = quote(f"{self._access_key_id}/{self._scope}", safe="-_.~")
