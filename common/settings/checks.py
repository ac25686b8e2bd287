"""Checks of single settings, so that a wrong value ends the process at its start."""

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr

# A secret that can be guessed protects nothing. These minima also exclude common words such as
# `changeme`, and repetitions of them.
SECRET_LENGTH: Final = 16
SECRET_CHARACTERS: Final = 10


def check_base_url(url: str) -> str:
    """Return `url` if it is the URL of a server; it may have a path.

    Raises:
        ValueError: a part of the URL is missing, invalid or not allowed; the message names it.
    """
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port != 0
    except ValueError:  # of a bracket or a port
        raise ValueError("has an invalid host or port") from None
    if parts.scheme not in {"http", "https"}:
        raise ValueError("must begin with http:// or https://")
    if not parts.hostname or not port_is_valid or not parts.netloc.isprintable():
        raise ValueError("has an invalid host or port")
    if any(map(str.isspace, url)):
        raise ValueError("must not contain white space")
    if "@" in parts.netloc:
        raise ValueError("must not contain a user name or password")
    if parts.query or parts.fragment:
        raise ValueError("must not contain ? or #")
    return url


def check_endpoint(url: str) -> str:
    """Return `url` if it is the URL of a server and has no path.

    Raises:
        ValueError: as for `check_base_url`, or the URL has a path.
    """
    if urlsplit(check_base_url(url)).path.strip("/"):
        raise ValueError("must not contain a path")
    return url


def check_secret(secret: SecretStr) -> SecretStr:
    """Return `secret` if it cannot be guessed.

    Raises:
        ValueError: the secret is too short, or consists of few different characters.
    """
    text = secret.get_secret_value()
    if len(text) < SECRET_LENGTH or len(set(text)) < SECRET_CHARACTERS:
        raise ValueError(
            f"can be guessed: use at least {SECRET_LENGTH} characters, "
            f"{SECRET_CHARACTERS} of them different, for example from `openssl rand -hex 24`"
        )
    return secret


BaseUrl = Annotated[str, AfterValidator(check_base_url)]
Endpoint = Annotated[str, AfterValidator(check_endpoint)]
Secret = Annotated[SecretStr, AfterValidator(check_secret)]
