"""Start of a gateway process."""

import pytest
from fastapi import FastAPI

from api import app as module
from common.settings import Settings


@pytest.fixture(autouse=True)
def pepper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFILL_API_KEY_PEPPER", "pepper of the unit tests")


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of processes for which logging would have been configured."""
    names: list[str] = []
    monkeypatch.setattr(module, "configure_logging", lambda _, process: names.append(process))
    return names


def test_a_process_starts_from_its_environment(configured: list[str]) -> None:
    assert isinstance(module.create_app(), FastAPI)
    assert configured == ["gateway"]


def test_an_app_with_given_settings_does_not_configure_logging(configured: list[str]) -> None:
    assert isinstance(module.create_app(Settings()), FastAPI)
    assert not configured


@pytest.mark.parametrize(
    ("dialects", "served"),
    [
        ('["v3", "openai"]', {"/api/v3/inpaint", "/v1/models", "/openai/v1/models"}),
        ('["openai"]', {"/v1/models", "/openai/v1/models"}),
        ('["v3"]', {"/api/v3/inpaint"}),
        ("[]", set()),
    ],
)
def test_the_settings_select_the_dialects(
    monkeypatch: pytest.MonkeyPatch, dialects: str, served: set[str]
) -> None:
    monkeypatch.setenv("INFILL_DIALECTS", dialects)
    paths = {getattr(route, "path", "") for route in module.create_app(Settings()).routes}
    assert paths & {"/api/v3/inpaint", "/v1/models", "/openai/v1/models"} == served
    assert "/api/v1/jobs/{job_id}/progress" in paths


@pytest.mark.usefixtures("configured")
def test_a_gateway_does_not_start_without_a_pepper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFILL_API_KEY_PEPPER", "")
    with pytest.raises(SystemExit, match="INFILL_API_KEY_PEPPER is not set: set it to a long"):
        module.create_app()


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("variable", "value", "result"),
    [
        ("INFILL_DATABASE_POOL_SIZE", "none", "INFILL_DATABASE_POOL_SIZE"),
        ("INFILL_SYNC_WAIT_SECONDS", "-1", "INFILL_SYNC_WAIT_SECONDS"),
        ("INFILL_DIALECTS", '["v2"]', "INFILL_DIALECTS"),
        ("INFILL_OPENAI_WAIT_SECONDS", "-1", "INFILL_OPENAI_WAIT_SECONDS"),
        ("INFILL_MODELS_FILE", "/nowhere/models.toml", "cannot read the models file"),
        ("INFILL_WEBHOOK_SIGNING_KEY", "secret-words", "INFILL_WEBHOOK_SIGNING_KEY"),
        ("INFILL_OUTBOUND_DENIED_HOSTS", '["é\\u0000"]', "INFILL_OUTBOUND_DENIED_HOSTS"),
    ],
)
def test_a_bad_setting_ends_the_process_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, result: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as caught:
        module.create_app()
    assert str(caught.value).startswith("infill gateway: ")
    assert result in str(caught.value)
    assert "secret-words" not in str(caught.value)
    assert caught.value.__suppress_context__
