"""Find API keys in the bytes of a body by the grammar of keys, before the body is parsed."""

import re
from typing import Final

from common.domain.api_key import ALPHABET, LENGTH, PREFIX, is_well_formed

# A key as every JSON, form and multipart encoder writes it: none of its characters needs an escape.
_KEY: Final = re.compile(b"%s[%s]{%d}" % (PREFIX.encode(), ALPHABET.encode(), LENGTH - len(PREFIX)))
# Texts of that form whose checksum is computed, per body: more are no accident.
MAX_TEXTS: Final = 64
# Well-formed keys that are looked up, per body.
MAX_KEYS: Final = 8


class KeyScanner:
    """Scanner for well-formed API keys in a body that arrives in chunks."""

    def __init__(self) -> None:
        self._tail = b""
        self._texts = 0
        self._keys: set[str] = set()

    def feed(self, chunk: bytes) -> list[str]:
        """Return the well-formed keys, new in this body, that end in this chunk."""
        found: list[str] = []
        text = self._tail + chunk
        self._tail = text[-(LENGTH - 1) :]
        if PREFIX.encode() not in text:
            return found
        for match in _KEY.finditer(text):
            if self._texts >= MAX_TEXTS or len(self._keys) >= MAX_KEYS:
                break
            self._texts += 1
            key = match[0].decode()
            if key not in self._keys and is_well_formed(key):
                self._keys.add(key)
                found.append(key)
        return found
