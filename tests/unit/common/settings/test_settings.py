"""Settings come from the environment, and a wrong one is named."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from common.domain.errors import ConfigurationError
from common.settings import (
    DatabaseSettings,
    GatewaySettings,
    HttpSettings,
    JobSettings,
    ModelSettings,
    OutboundSettings,
    RedisSettings,
    Section,
    Settings,
    StorageSettings,
    WebhookSettings,
)
from common.settings.section import export_environment, is_set

SECRET = "hunter2-of-the-settings"


def test_all_sections_have_valid_defaults() -> None:
    settings = Settings()
    assert settings.database.pool_size == 10
    assert settings.redis.ring_limit == 1000
    assert settings.storage.bucket == "infill"
    assert settings.outbound.allowed_ports == frozenset()
    assert settings.jobs.heartbeat_seconds < settings.jobs.lease_seconds
    assert settings.webhooks.timeout_seconds < settings.webhooks.lease_seconds
    assert settings.gateway.sync_wait_seconds == 8
    assert settings.worker.concurrency == 8
    assert settings.models.serve == ()
    assert settings.telemetry.log_level == "INFO"


def test_a_section_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    first = settings.jobs
    monkeypatch.setenv("INFILL_JOB_MAX_ATTEMPTS", "9")
    assert settings.jobs is first
    assert Settings().jobs.max_attempts == 9


def test_settings_are_read_from_their_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFILL_S3_BUCKET", "images")
    monkeypatch.setenv("INFILL_SYNC_WAIT_SECONDS", "0")
    monkeypatch.setenv("INFILL_WEBHOOK_RETRY_SCHEDULE_SECONDS", "[1, 2.5]")
    monkeypatch.setenv("INFILL_OUTBOUND_ALLOWED_NETWORKS", '["127.0.0.0/8", "::1/128"]')
    named = '["192.0.2.53", "192.0.2.53:5353", "2001:db8::53", "[2001:db8::53]:5353"]'
    monkeypatch.setenv("INFILL_OUTBOUND_NAMESERVERS", named)
    monkeypatch.setenv("INFILL_JOB_LEASE_SECONDS", "")  # empty is as unset
    assert StorageSettings().bucket == "images"
    assert GatewaySettings().sync_wait_seconds == 0
    assert WebhookSettings().retry_schedule_seconds == (1.0, 2.5)
    assert [str(net) for net in OutboundSettings().allowed_networks] == ["127.0.0.0/8", "::1/128"]
    assert [(str(address), port) for address, port in OutboundSettings().nameservers] == [
        ("192.0.2.53", 53),
        ("192.0.2.53", 5353),
        ("2001:db8::53", 53),
        ("2001:db8::53", 5353),
    ]
    assert JobSettings().lease_seconds == 60


@pytest.mark.parametrize(
    ("section", "variable", "value", "expected"),
    [
        (JobSettings, "INFILL_JOB_MAX_ATTEMPTS", "many", "valid integer"),
        (JobSettings, "INFILL_JOB_LEASE_SECONDS", "-1", "greater than 0"),
        (JobSettings, "INFILL_JOB_MAX_ATTEMPTS", "40000", "less than or equal to 1000"),
        (DatabaseSettings, "INFILL_DATABASE_POOL_SIZE", "0", "greater than 0"),
        (GatewaySettings, "INFILL_ALLOW_KEY_IN_QUERY", "perhaps", "valid boolean"),
        (StorageSettings, "INFILL_S3_PRESIGNED_SECONDS", "604801", "less than or equal to 604800"),
        (WebhookSettings, "INFILL_WEBHOOK_JITTER", "1", "less than 1"),
        (WebhookSettings, "INFILL_WEBHOOK_RETRY_SCHEDULE_SECONDS", "[5, -1]", "greater than 0"),
        (WebhookSettings, "INFILL_WEBHOOK_RETRY_SCHEDULE_SECONDS", "5,300", "not JSON"),
        (
            OutboundSettings,
            "INFILL_OUTBOUND_ALLOWED_NETWORKS",
            '["127.0.0.1/8"]',
            "valid IPv4 network",
        ),
        (
            OutboundSettings,
            "INFILL_OUTBOUND_NAMESERVERS",
            '["192.0.2.53", "dns.example"]',
            "neither an address nor address:port",
        ),
        (
            OutboundSettings,
            "INFILL_OUTBOUND_NAMESERVERS",
            '["192.0.2.53:65536"]',
            "not a valid port",
        ),
    ],
)
def test_a_bad_value_is_named(
    monkeypatch: pytest.MonkeyPatch,
    section: type[Section],
    variable: str,
    value: str,
    expected: str,
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        section()
    assert variable in caught.value.message
    assert expected in caught.value.message


def test_a_bad_value_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFILL_JOB_MAX_ATTEMPTS", "many")
    with pytest.raises(ConfigurationError, match=r"\(given: 'many'\)"):
        JobSettings()


def test_every_bad_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFILL_JOB_MAX_ATTEMPTS", "0")
    monkeypatch.setenv("INFILL_JOB_SWEEP_SECONDS", "soon")
    with pytest.raises(ConfigurationError, match=r"MAX_ATTEMPTS.*; INFILL_JOB_SWEEP_SECONDS"):
        JobSettings()


@pytest.mark.parametrize(
    ("section", "variable"),
    [
        (DatabaseSettings, "INFILL_DATABASE_URL"),
        (StorageSettings, "INFILL_S3_SECRET_ACCESS_KEY"),
        (StorageSettings, "INFILL_S3_SESSION_TOKEN"),
        (GatewaySettings, "INFILL_API_KEY_PEPPER"),
        (GatewaySettings, "INFILL_ADMIN_KEY"),
        (WebhookSettings, "INFILL_WEBHOOK_SIGNING_KEY"),
    ],
)
def test_secrets_are_not_shown(
    monkeypatch: pytest.MonkeyPatch, section: type[Section], variable: str
) -> None:
    monkeypatch.setenv("INFILL_S3_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("INFILL_S3_SECRET_ACCESS_KEY", "another")
    url = f"postgresql://infill:{SECRET}@127.0.0.1/infill"
    monkeypatch.setenv(variable, url if section is DatabaseSettings else SECRET)
    assert SECRET not in repr(section()) + str(section())
    assert SECRET in str([getattr(v, "get_secret_value", str)() for _, v in section()])


@pytest.mark.parametrize("field", ["api_key_pepper", "admin_key"])
def test_a_bad_secret_is_not_shown(field: str) -> None:
    given: dict[str, Any] = {field: [SECRET]}
    with pytest.raises(ConfigurationError, match=f"INFILL_{field.upper()}") as caught:
        GatewaySettings(**given)
    assert SECRET not in caught.value.message


@pytest.mark.parametrize(
    "url", ["redis+sentinel://:hush@a:26379/0", "unix:///hush", "127.0.0.1:6379/hush", "redis:///0"]
)
def test_an_address_of_redis_that_cannot_work_is_rejected(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"INFILL_REDIS_URL: .*must begin with") as caught:
        RedisSettings(url=SecretStr(url))
    assert "hush" not in caught.value.message


@pytest.mark.parametrize("end", ["?ssl_cert_reqs=none", "?socket_timeout=1", "#hush"])
def test_parameters_in_an_address_of_redis_are_rejected(end: str) -> None:
    with pytest.raises(ConfigurationError, match=r"INFILL_REDIS_URL: .*nothing after") as caught:
        RedisSettings(url=SecretStr(f"rediss://:hush@redis.example/0{end}"))
    assert "hush" not in caught.value.message


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "No such file"), ("-", "must contain PEM certificates")]
)
def test_a_ca_file_of_redis_must_hold_certificates(
    tmp_path: Path, content: str | None, problem: str
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=rf"INFILL_REDIS_CA_FILE: .*{problem}"):
        RedisSettings(ca_file=file)


@pytest.mark.parametrize("variable", ["INFILL_ADMIN_KEY", "INFILL_API_KEY_PEPPER"])
@pytest.mark.parametrize("secret", ["a", "changeme", "admin" * 4, "a" * 40, "0123456789abcde"])
def test_a_secret_that_can_be_guessed_is_rejected(
    monkeypatch: pytest.MonkeyPatch, variable: str, secret: str
) -> None:
    monkeypatch.setenv(variable, secret)
    with pytest.raises(ConfigurationError, match=rf"{variable}: .*guessed") as caught:
        GatewaySettings()
    assert "given" not in caught.value.message


def test_a_pepper_has_no_default() -> None:
    with pytest.raises(ConfigurationError, match="INFILL_API_KEY_PEPPER is not set"):
        GatewaySettings().require_pepper()
    assert GatewaySettings(api_key_pepper=SecretStr(SECRET)).require_pepper() == SECRET


def test_settings_are_immutable() -> None:
    with pytest.raises(ConfigurationError, match="INFILL_JOB_MAX_ATTEMPTS"):
        JobSettings(max_attempts=0)
    with pytest.raises(ValueError, match="frozen"):
        JobSettings().max_attempts = 5  # type: ignore[misc] # what is tried here


def test_exported_settings_are_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFILL_S3_BUCKET", "")
    assert not is_set("INFILL_S3_BUCKET")
    export_environment({"INFILL_S3_BUCKET": "images"})
    assert is_set("INFILL_S3_BUCKET")
    assert StorageSettings().bucket == "images"


@pytest.mark.parametrize(
    ("section", "variable"),
    [
        (JobSettings, "INFILL_JOB_HEARTBEAT_SECONDS"),
        (WebhookSettings, "INFILL_WEBHOOK_TIMEOUT_SECONDS"),
    ],
)
def test_a_lease_shorter_than_twice_its_interval_is_rejected(
    monkeypatch: pytest.MonkeyPatch, section: type[Section], variable: str
) -> None:
    """Otherwise running work would be requeued and done again without end."""
    monkeypatch.setenv(variable, "31")
    with pytest.raises(ConfigurationError, match=f"at least twice {variable}: "):
        section()


def test_the_budget_for_bodies_must_hold_bodies_of_the_largest_size() -> None:
    assert GatewaySettings(max_body_bytes=100, body_budget_bytes=400)
    with pytest.raises(ConfigurationError, match=r"at least 4 times INFILL_MAX_BODY_BYTES"):
        GatewaySettings(max_body_bytes=100, body_budget_bytes=399)


def test_connections_have_deadlines_and_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert HttpSettings().head_timeout_seconds < HttpSettings().idle_timeout_seconds
    monkeypatch.setenv("INFILL_HTTP_TRUSTED_PROXIES", '["10.0.0.0/8", "2001:db8::/32"]')
    assert len(HttpSettings().trusted_proxies) == 2
    monkeypatch.setenv("INFILL_HTTP_MAX_CONNECTIONS", "0")
    monkeypatch.setenv("INFILL_HTTP_TRUSTED_PROXIES", '["10.0.0.1/8"]')
    with pytest.raises(ConfigurationError) as caught:
        HttpSettings()
    assert "INFILL_HTTP_MAX_CONNECTIONS" in caught.value.message
    assert "INFILL_HTTP_TRUSTED_PROXIES[0]" in caught.value.message


URLS = [
    (GatewaySettings, "INFILL_PUBLIC_URL"),
    (StorageSettings, "INFILL_S3_ENDPOINT_URL"),
    (StorageSettings, "INFILL_S3_PUBLIC_BASE_URL"),
    (StorageSettings, "INFILL_S3_PRESIGNED_ENDPOINT_URL"),
]


@pytest.mark.parametrize(("section", "variable"), URLS)
@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("minio:9000", "must begin with http:// or https://"),
        ("minio", "must begin with http:// or https://"),
        ("minio://minio:9000", "must begin with http:// or https://"),
        ("//minio:9000", "must begin with http:// or https://"),
        ("http://", "has an invalid host or port"),
        ("http:///bucket", "has an invalid host or port"),
        ("http://minio:port", "has an invalid host or port"),
        ("http://minio:0", "has an invalid host or port"),
        ("http://minio:70000", "has an invalid host or port"),
        ("http://[::1", "has an invalid host or port"),
        ("http://min io:9000", "must not contain white space"),
        ("http://user:word@minio:9000", "must not contain a user name or password"),
        ("http://minio:9000/?a=b", r"must not contain \? or #"),
        ("http://minio:9000/#a", r"must not contain \? or #"),
    ],
)
def test_a_url_that_cannot_work_is_rejected(
    monkeypatch: pytest.MonkeyPatch, section: type[Section], variable: str, url: str, problem: str
) -> None:
    monkeypatch.setenv(variable, url)
    with pytest.raises(ConfigurationError, match=rf"{variable}: .*{problem}"):
        section()


@pytest.mark.parametrize(("section", "variable"), URLS)
@pytest.mark.parametrize("url", ["http://minio:9000", "https://[::1]:9000/", "https://a.example"])
def test_a_url_of_a_server_is_accepted(
    monkeypatch: pytest.MonkeyPatch, section: type[Section], variable: str, url: str
) -> None:
    monkeypatch.setenv(variable, url)
    section()


def test_only_base_urls_may_have_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GatewaySettings(public_url="https://example.com/infill").public_url
    monkeypatch.setenv("INFILL_S3_ENDPOINT_URL", "https://example.com/bucket")
    with pytest.raises(ConfigurationError, match=r"INFILL_S3_ENDPOINT_URL: .*contain a path"):
        StorageSettings()


def test_a_relative_folder_of_models_is_made_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFILL_MODELS_DIRECTORY", ".infill/models")
    assert ModelSettings().directory == Path.cwd() / ".infill" / "models"
