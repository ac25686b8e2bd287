"""Connection URLs of Postgres: what is read, and what is rejected in a sentence."""

from pathlib import Path
from typing import Any

import pytest

from common.domain.errors import ConfigurationError
from common.settings import DatabaseSettings
from common.settings.postgres_url import parse_postgres_url

LOCAL = "postgresql://infill@127.0.0.1/infill"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgres://al%40ice:p%2F%3A%25%20w@db.example.com:6543/in%2Dfill",
            {
                "hosts": (("db.example.com", 6543),),
                "user": "al@ice",
                "password": "p/:% w",
                "database": "in-fill",
            },
        ),
        ("postgresql://u:a/b?c#d+e@h/n", {"password": "a/b?c#d+e", "database": "n"}),
        ("postgresql://h", {"hosts": (("h", 5432),), "user": None, "database": None}),
        ("postgresql://[::1]:5433/n", {"hosts": (("::1", 5433),)}),
        (
            "postgresql://h1:5433,h2,[fd00::2]:7/n?target_session_attrs=read-write",
            {
                "hosts": (("h1", 5433), ("h2", 5432), ("fd00::2", 7)),
                "target_session_attrs": "read-write",
            },
        ),
        ("postgresql://h1,h2/n?port=5433,5434", {"hosts": (("h1", 5433), ("h2", 5434))}),
        (
            "postgresql:///n?host=/var/run/postgresql&port=5433&user=u&password=p",
            {"hosts": (("/var/run/postgresql", 5433),), "user": "u", "password": "p"},
        ),
        ("postgresql://%2Fvar%2Frun%2Fpostgresql/n", {"hosts": (("/var/run/postgresql", 5432),)}),
        (
            f"{LOCAL}?sslmode=require&channel_binding=prefer&gssencmode=disable&sslsni=1",
            {"driver_parameters": {"sslmode": "require"}},
        ),
        (
            f"{LOCAL}?sslmode=verify-full&sslrootcert=system",
            {"driver_parameters": {"sslmode": "verify-full"}, "system_authorities": True},
        ),
        (f"{LOCAL}?sslrootcert=system", {"driver_parameters": {"sslmode": "verify-full"}}),
        (
            f"{LOCAL}?application_name=shop&options=-c%20search_path%3Dinfill&connect_timeout=7",
            {
                "application_name": "shop",
                "options": "-c search_path=infill",
                "connect_timeout": 7.0,
            },
        ),
        (f"{LOCAL}?connect_timeout=0&client_encoding=UTF8&sslcompression=0", {}),
        (f"{LOCAL}?connect_timeout=-1", {"connect_timeout": None}),
        (f"{LOCAL}?", {"driver_parameters": {}}),
    ],
)
def test_urls_are_read_as_libpq_reads_them(url: str, expected: dict[str, Any]) -> None:
    parsed = parse_postgres_url(url)
    assert {name: getattr(parsed, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("db.example.com:5432/infill", "must begin with postgresql://"),
        ("mysql://u:hidden@h/n", "must begin with postgresql://"),
        ("postgresql:///n", "the URL has no host"),
        ("postgresql://h1,,h2/n", "the URL has no host"),
        ("postgresql://h:70000/n", "70000 is not a port"),
        ("postgresql://h1,h2,h3/n?port=1,2", "the parameter port"),
        (f"{LOCAL}?channel_binding=require", "the parameter channel_binding must be"),
        (f"{LOCAL}?gssencmode=require", "the parameter gssencmode must be"),
        (f"{LOCAL}?target_session_attrs=standby", "Infill writes"),
        (f"{LOCAL}?load_balance_hosts=random", "the parameter load_balance_hosts must be"),
        (f"{LOCAL}?client_encoding=latin1", "the parameter client_encoding must be"),
        (f"{LOCAL}?sslmode=strict", "the parameter sslmode must be"),
        (f"{LOCAL}?sslmode=require&sslrootcert=system", "needs sslmode=verify-full"),
        (f"{LOCAL}?sslmode=verify-ca", "sslmode=verify-ca needs sslrootcert"),
        (f"{LOCAL}?sslrootcert=/none/ca.crt", "the parameter sslrootcert: /none/ca.crt: No such"),
        (f"{LOCAL}?sslkey=/none/key", "the parameter sslkey: /none/key: No such file"),
        (f"{LOCAL}?keepalives=1", "the parameter keepalives is not supported"),
        (f"{LOCAL}?pgbouncer=true", "the parameter pgbouncer is not supported"),
        (f"{LOCAL}?connect_timeout=soon", "the parameter connect_timeout must be"),
        (f"{LOCAL}?verify", "not `name=value` pairs"),
    ],
)
def test_what_cannot_be_honoured_is_named(
    url: str, problem: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("INFILL_DATABASE_URL", url)
    with pytest.raises(ConfigurationError) as caught:
        DatabaseSettings()
    assert problem in caught.value.message
    assert "INFILL_DATABASE_URL" in caught.value.message
    assert "hidden" not in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["sslrootcert", "sslcert"])
def test_a_file_that_is_no_certificate_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "empty.pem"
    path.touch()
    with pytest.raises(ValueError, match=f"the parameter {name} names no valid PEM file"):
        parse_postgres_url(f"{LOCAL}?{name}={path}")
