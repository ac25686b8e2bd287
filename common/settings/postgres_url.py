"""Parse connection URLs of Postgres with the parameters of libpq, as managed services have them.

Each parameter has the effect that libpq gives it, or is rejected: a parameter that is ignored may
be one that the operator relies on. See
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS.
"""

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote

from common.settings.section import is_set

_URL: Final = re.compile(
    r"""
    (?: postgresql | postgres ) ://
    (?: (?P<user>[^:/@?]*) (?: : (?P<password>[^@]*) )? @ )?
    (?P<hosts>[^/?]*)
    (?: / (?P<database>[^?]*) )?
    (?: \? (?P<query>.*) )?
    """,
    re.VERBOSE | re.DOTALL,
)
_HOST: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>\d*))?")
_DEFAULT_PORT: Final = 5432
_MAX_PORT: Final = 65_535
_VERIFYING: Final = frozenset({"verify-ca", "verify-full"})
_SSL_MODES: Final = frozenset({"disable", "allow", "prefer", "require"}) | _VERIFYING

# Passed on to the driver, which gives them libpq's meaning.
_DRIVER_PARAMETERS: Final = frozenset(
    {
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "sslpassword",
        "sslcrl",
        "sslnegotiation",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        "krbsrvname",
        "passfile",
    }
)
_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_OURS: Final = frozenset(
    {
        *("host", "port", "dbname", "user", "password", "application_name", "options"),
        *("connect_timeout", "target_session_attrs"),
    }
)
# Parameters with a single possible effect here, by the values that ask for this effect.
_FIXED: Final[Mapping[str, frozenset[str]]] = {
    "channel_binding": frozenset({"disable", "prefer"}),
    "client_encoding": frozenset({"utf8", "utf-8", "auto", "unicode"}),
    "gssencmode": frozenset({"disable", "prefer"}),
    "load_balance_hosts": frozenset({"disable"}),
    "sslcompression": frozenset({"0"}),
    "sslsni": frozenset({"1"}),
    "target_session_attrs": frozenset({"any", "read-write", "primary"}),
    "sslmode": _SSL_MODES,
    "sslnegotiation": frozenset({"postgres", "direct"}),
}
_REASONS: Final = {
    "channel_binding": "the driver has no channel binding; sslmode=verify-full also excludes a "
    "server in the middle",
    "target_session_attrs": "Infill writes to its database",
}


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """The parts of a connection URL; `hosts` are tried in order.

    `driver_parameters` are libpq's parameters that the driver implements. `system_authorities` is
    whether the certificate authorities of the operating system are trusted
    (`sslrootcert=system`).
    """

    hosts: tuple[tuple[str, int], ...]
    user: str | None
    password: str | None
    database: str | None
    driver_parameters: Mapping[str, str]
    system_authorities: bool
    target_session_attrs: str
    application_name: str | None
    options: str | None
    connect_timeout: float | None


def parse_postgres_url(url: str) -> PostgresUrl:
    """Return the parts of `postgresql://user:password@host:port,host:port/database?parameters`.

    Raises:
        ValueError: the URL is malformed, or a parameter cannot be honoured; the message names it
            and contains no password.
    """
    parts = _URL.fullmatch(url)
    if parts is None:
        raise ValueError(
            "must begin with postgresql:// or postgres://, such as "
            "postgresql://user:password@host:5432/name; special characters of a password are "
            "percent-encoded"
        )
    given = _parse_query(parts["query"] or "")
    driver = {name: value for name, value in given.items() if name in _DRIVER_PARAMETERS}
    uses_system = _check_tls(driver)
    return PostgresUrl(
        hosts=_parse_hosts(parts["hosts"] or given.get("host", ""), given.get("port", "")),
        user=_decode(parts["user"]) or given.get("user"),
        password=_decode(parts["password"]) or given.get("password"),
        database=_decode(parts["database"]) or given.get("dbname"),
        driver_parameters=driver,
        system_authorities=uses_system,
        target_session_attrs=given.get("target_session_attrs", "any"),
        application_name=given.get("application_name"),
        options=given.get("options"),
        connect_timeout=_parse_timeout(given.get("connect_timeout", "0")),
    )


def _decode(text: str | None) -> str | None:
    return unquote(text) if text else None


def _parse_query(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True, strict_parsing=True)
    except ValueError as error:
        if query:
            raise ValueError("the parameters after `?` are not `name=value` pairs") from error
        pairs = []
    given = {name: value for name, value in pairs if value}
    for name, value in given.items():
        _check_parameter(name, value)
    return given


def _check_parameter(name: str, value: str) -> None:
    allowed = _FIXED.get(name)
    if allowed is None:
        if name not in _DRIVER_PARAMETERS | _OURS:
            raise ValueError(f"the parameter {name} is not supported; remove it")
    elif value.lower() not in allowed:
        reason = f": {_REASONS[name]}" if name in _REASONS else ""
        raise ValueError(
            f"the parameter {name} must be {' or '.join(sorted(allowed))}, not {value}{reason}"
        )


def _parse_timeout(value: str) -> float | None:
    """Return libpq's time-out in seconds; zero and negative numbers mean that there is none."""
    try:
        seconds = int(value)
    except ValueError:
        raise ValueError("the parameter connect_timeout must be a whole number") from None
    return float(seconds) if seconds > 0 else None


def _parse_hosts(hosts: str, ports: str) -> tuple[tuple[str, int], ...]:
    """Return the hosts with their ports; a host that begins with `/` is the folder of a socket."""
    found = [_parse_host(host) for host in hosts.split(",")]
    given = ports.split(",") if ports else [""]
    if len(given) not in {1, len(found)}:
        raise ValueError("the parameter port must have one number, or one for each host")
    if len(given) == 1:
        given *= len(found)
    return tuple(
        (host, _parse_port(port or other)) for (host, port), other in zip(found, given, strict=True)
    )


def _parse_host(text: str) -> tuple[str, str]:
    matched = _HOST.fullmatch(unquote(text))
    if matched is None or not (matched["host"] or text):
        raise ValueError("the URL has no host; a socket is named as `?host=/var/run/postgresql`")
    return matched["host"].strip("[]"), matched["port"] or ""


def _parse_port(text: str) -> int:
    port = int(text) if text.isdecimal() else -1
    if not text:
        return _DEFAULT_PORT
    if not 0 < port <= _MAX_PORT:
        raise ValueError(f"{text} is not a port")
    return port


def _check_tls(driver: dict[str, str]) -> bool:
    """Check `sslmode` and the files of TLS; return whether the system's CAs verify the server.

    `sslrootcert=system` is removed from `driver`, because the driver takes it for a file.
    """
    uses_system = driver.get("sslrootcert") == "system"
    if uses_system:
        del driver["sslrootcert"]
        if driver.setdefault("sslmode", "verify-full") != "verify-full":
            raise ValueError("the parameter sslrootcert=system needs sslmode=verify-full")
    for name in _FILES:
        if name in driver:
            _check_file(name, driver[name])
    if driver.get("sslmode") in _VERIFYING and not uses_system and not _has_authorities(driver):
        raise ValueError(
            f"the parameter sslmode={driver['sslmode']} needs sslrootcert, which is a file with "
            "the certificate of the authority, or `system`"
        )
    if "sslcert" in driver:
        _load("sslcert", lambda context: _load_client_certificate(context, driver))
    return uses_system


def _has_authorities(driver: Mapping[str, str]) -> bool:
    default = Path("~/.postgresql/root.crt").expanduser()
    return "sslrootcert" in driver or is_set("PGSSLROOTCERT") or default.is_file()


def _check_file(name: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise ValueError(f"the parameter {name}: {path}: {error.strerror}") from None
    if name == "sslrootcert":
        _load(name, lambda context: context.load_verify_locations(path))


def _load_client_certificate(context: ssl.SSLContext, driver: Mapping[str, str]) -> None:
    password = driver.get("sslpassword", "")
    context.load_cert_chain(driver["sslcert"], driver.get("sslkey"), password=lambda: password)


def _load(name: str, read: Callable[[ssl.SSLContext], None]) -> None:
    try:
        read(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    except OSError as error:  # also of TLS
        raise ValueError(f"the parameter {name} names no valid PEM file: {error}") from None
