"""Format of API keys and admin keys, and the digest stored in place of a key.

A key consists of a prefix for its kind, 37 random base62 characters (220 bits), and a checksum of 6
characters, so that invalid keys are usually rejected without a database query.
"""

import hashlib
import hmac
import secrets
import string
import zlib
from enum import StrEnum


class KeyKind(StrEnum):
    """The kind of a key: tenant API key or admin key. The value is the key's prefix."""

    API = "inf_"
    ADMIN = "adm_"


PREFIX = KeyKind.API.value
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_LENGTH = 37
CHECKSUM_LENGTH = 6  # 62⁶ > 2³²: a CRC-32 fits
LENGTH = len(PREFIX) + RANDOM_LENGTH + CHECKSUM_LENGTH
LAST_CHARACTERS = 4  # stored in plain text, so that people can tell their keys apart


def new_key(kind: KeyKind = KeyKind.API) -> str:
    """Return a new random key; it is shown to its owner once and never stored."""
    body = kind + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return body + _checksum(body)


def is_well_formed(key: str, kind: KeyKind = KeyKind.API) -> bool:
    """Return whether `key` has the right length, prefix and checksum."""
    if len(key) != LENGTH or not key.isascii() or not key.startswith(kind):
        return False
    body, checksum = key[:-CHECKSUM_LENGTH], key[-CHECKSUM_LENGTH:]
    return checksum == _checksum(body)


def digest(key: str, pepper: str) -> bytes:
    """Return the HMAC-SHA256 of `key` under the secret `pepper`, stored in place of the key.

    A stolen table of digests is useless without the pepper: digests are not accepted as keys, and
    guessed keys cannot be compared with them.
    """
    return hmac.digest(pepper.encode(), key.encode(), hashlib.sha256)


def last_four(key: str) -> str:
    """Return the last four characters of a key, which help its owner to recognize it."""
    return key[-LAST_CHARACTERS:]


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
