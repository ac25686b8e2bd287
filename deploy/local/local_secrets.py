"""Secrets of a local stack: generated on its first start, kept in its folder."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.domain.api_key import KeyKind, new_key
from common.domain.errors import ConfigurationError
from common.standard_webhooks.keys import new_signing_key


@dataclass(frozen=True, slots=True)
class LocalSecrets:
    """Passwords and keys that the processes of a local stack share."""

    postgres_password: str
    s3_access_key_id: str
    s3_secret_access_key: str
    api_key_pepper: str
    admin_key: str
    webhook_signing_key: str


def load_or_create_secrets(home: Path) -> LocalSecrets:
    """Return the secrets in `home`/secrets.json; generate them on the first call.

    Raises:
        ConfigurationError: the file does not contain the secrets.
    """
    path = home / "secrets.json"
    if not path.exists():
        write_private(path, asdict(_create_secrets()))
    try:
        return LocalSecrets(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is damaged ({error}): restore it, or choose another folder with --home; "
            "without it the data in this folder cannot be opened"
        ) from error


def write_private(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as a JSON file that only its owner can read."""
    write_private_text(path, json.dumps(content, indent=2) + "\n")


def write_private_text(path: Path, text: str) -> None:
    """Write a file that only its owner can read.

    Atomic: a temporary file is written and renamed.
    """
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _create_secrets() -> LocalSecrets:
    return LocalSecrets(
        postgres_password=secrets.token_urlsafe(24),
        s3_access_key_id="infill",
        s3_secret_access_key=secrets.token_urlsafe(24),
        api_key_pepper=secrets.token_urlsafe(32),
        admin_key=new_key(KeyKind.ADMIN),
        webhook_signing_key=new_signing_key(),
    )
