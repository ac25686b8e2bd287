"""The connection of the Celery application to Redis."""

import ssl

import pytest
from pydantic import SecretStr

from common.settings import RedisSettings, Settings
from worker.celery_app import create_app


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("rediss", {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}),
        ("redis", None),
    ],
)
def test_a_certificate_of_redis_is_verified(
    scheme: str, expected: dict[str, object] | None
) -> None:
    settings = Settings()
    settings.redis = RedisSettings(url=SecretStr(f"{scheme}://127.0.0.1:1/0"))
    tls = create_app(settings).connection_for_read().ssl
    assert (tls or None) == expected
