"""API keys and admin keys: their form, and the digest that is kept in their place.

A key is its kind's prefix, 37 random characters of base62 (220 bits) and 6 more that are the
checksum of what stands before them, so that junk and typing errors are told apart without a
look-up.
"""

import hashlib
import hmac
import secrets
import string
import zlib
from enum import StrEnum


class KeyKind(StrEnum):
    """What a key opens, told by its prefix."""

    API = "inf_"
    ADMIN = "adm_"


PREFIX = KeyKind.API.value
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_LENGTH = 37
CHECKSUM_LENGTH = 6  # 62⁶ > 2³²: a CRC-32 fits
LENGTH = len(PREFIX) + RANDOM_LENGTH + CHECKSUM_LENGTH
LAST_CHARACTERS = 4  # kept in the clear, so that people can tell their keys apart


def new_key(kind: KeyKind = KeyKind.API) -> str:
    """Draw a key; it is shown to its owner once and never stored."""
    body = kind + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return body + _checksum(body)


def is_well_formed(key: str, kind: KeyKind = KeyKind.API) -> bool:
    """Tell whether `key` could be one of ours: length, prefix and checksum."""
    if len(key) != LENGTH or not key.isascii() or not key.startswith(kind):
        return False
    body, checksum = key[:-CHECKSUM_LENGTH], key[-CHECKSUM_LENGTH:]
    return checksum == _checksum(body)


def digest(key: str, pepper: str) -> bytes:
    """Give what is stored in place of `key`: HMAC-SHA256, so a stolen table opens nothing."""
    return hmac.digest(pepper.encode(), key.encode(), hashlib.sha256)


def last_four(key: str) -> str:
    """Give the end of a key that its owner knows it by."""
    return key[-LAST_CHARACTERS:]


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
