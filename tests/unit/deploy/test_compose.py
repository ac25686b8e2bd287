"""docker-compose.yml, the images and deploy/env.example, as far as that goes without Docker."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.server import GRACE_SECONDS, LINGER_SECONDS
from common.settings import GatewaySettings, Settings
from deploy.cli.settings_table import list_variables
from worker.dispatcher.dispatcher import LAST_PATIENCE_SECONDS

ROOT = Path(__file__).parents[3]
COMPOSE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / "deploy/env.example"
ONE_SHOTS = {"migrate", "bucket"}
OURS = {"gateway", "worker", "dispatcher", *ONE_SHOTS}
SLIM = ("gateway", "dispatcher")

_ALL = tuple(
    f"INFILL_{section}"
    for section in ("DATABASE_", "REDIS_", "S3_", "OUTBOUND_", "JOB_", "MODELS_", "LOG_LEVEL")
)
# Settings of the gateway's own section, which has no prefix.
OWN = {f"INFILL_{name}".upper() for name in GatewaySettings.model_fields}
# The beginnings of the variables that each process reads.
READS = {
    "gateway": (*_ALL, "INFILL_WEBHOOK_", "INFILL_HTTP_", "INFILL_WORKER_CONCURRENCY", *OWN),
    "worker": (*_ALL, "INFILL_WORKER_", "INFILL_STATUS_"),
    "dispatcher": (*_ALL, "INFILL_WEBHOOK_", "INFILL_RETENTION_", "INFILL_STATUS_"),
}

_USED = re.compile(r"\$\{([A-Z_0-9]+)(:[?-])?([^}]*)\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return parsed


def service(compose: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"][name]
    return found


def dockerfile(name: str) -> str:
    return (ROOT / f"deploy/docker/{name}.Dockerfile").read_text(encoding="utf-8")


def example() -> dict[str, str]:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: value.strip("'") for name, value in pairs}


def used() -> dict[str, tuple[str, str]]:
    """Variables Compose fills in: whether they are required, and their default or message."""
    found = _USED.findall(COMPOSE.read_text(encoding="utf-8"))
    return {name: (operator, text) for name, operator, text in found}


def test_every_service_is_in_the_compose_file(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == OURS | {"postgres", "redis", "objects"}


def test_services_restart_and_have_health_checks(compose: dict[str, Any]) -> None:
    for name, described in compose["services"].items():
        if name in ONE_SHOTS:
            assert described["restart"] == "no"
            assert "healthcheck" not in described
        else:
            assert described["restart"] == "unless-stopped", name
            assert described["healthcheck"]["test"], name
            assert described["stop_grace_period"], name


def test_every_variable_of_ours_is_a_setting(compose: dict[str, Any]) -> None:
    named = {name for name in (*used(), *example()) if name.startswith("INFILL_")}
    for described in compose["services"].values():
        named |= {key for key in described.get("environment", {}) if key.startswith("INFILL_")}
    images = "".join(map(dockerfile, (*SLIM, "worker")))
    named |= set(re.findall(r"INFILL_[A-Z_0-9]+", images))
    assert named <= list_variables().keys()


def test_the_example_has_exactly_the_variables_of_the_compose_file() -> None:
    assert example().keys() == used().keys()


def test_required_variables_have_no_public_value() -> None:
    required = {name for name, (operator, _) in used().items() if operator == ":?"}
    assert {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "INFILL_API_KEY_PEPPER"} <= required
    assert "INFILL_S3_SECRET_ACCESS_KEY" in required
    given = {name for name in required if example()[name]}
    assert given == {"INFILL_MODELS_SERVE"}


def test_optional_variables_have_the_same_default_in_the_example() -> None:
    for name, (operator, default) in used().items():
        if operator == ":-":
            assert example()[name] == default, name


def test_the_models_of_the_example_are_in_the_models_file() -> None:
    served = json.loads(example()["INFILL_MODELS_SERVE"])
    models = (ROOT / "deploy/models.toml").read_text(encoding="utf-8")
    assert served
    assert all(f'name = "{name}"' in models for name in served)


def test_the_worker_finds_the_weights_that_ship_with_the_models_file(
    compose: dict[str, Any],
) -> None:
    entries = tomllib.loads((ROOT / "deploy/models.toml").read_text(encoding="utf-8"))["models"]
    shipped = [entry["source"] for entry in entries if entry["source"].startswith("./")]
    mounts = service(compose, "worker")["volumes"]
    folder = Path(compose["x-shared"]["INFILL_MODELS_FILE"]).parent
    assert shipped
    for source in shipped:
        here = (Path("deploy") / source).parent
        assert f"./{here}:{folder / here.name}:ro" in mounts


def test_all_processes_get_the_shared_settings(compose: dict[str, Any]) -> None:
    shared = compose["x-shared"]
    for name in OURS:
        assert shared.items() <= service(compose, name)["environment"].items(), name


@pytest.mark.parametrize("name", READS)
def test_a_process_gets_exactly_the_settings_it_reads(compose: dict[str, Any], name: str) -> None:
    given = {key for key in service(compose, name)["environment"] if key.startswith("INFILL_")}
    read = {variable for variable in list_variables() if variable.startswith(READS[name])}
    assert given == read


def test_the_documentation_names_what_each_process_reads() -> None:
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    for name, prefixes in READS.items():
        (row,) = re.findall(rf"^\| (?:GPU )?{name} \|(.*)$", page, re.MULTILINE)
        documented = {f"INFILL_{text}" for text in re.findall(r"`([A-Z_0-9]+)`", row)}
        own = {"INFILL_PUBLIC_URL", "INFILL_AUTH_CACHE_SECONDS"}  # the ends of a range
        assert documented - own == {prefix.removesuffix("_") for prefix in prefixes} - OWN


def test_health_is_checked_where_the_process_listens(compose: dict[str, Any]) -> None:
    for name in ("worker", "dispatcher"):
        described = service(compose, name)
        port = described["environment"]["INFILL_STATUS_PORT"]
        assert f"http://127.0.0.1:{port}/readyz" in described["healthcheck"]["test"][-1]
        assert f"EXPOSE {port}" in dockerfile(name)
    assert "http://127.0.0.1:8000/readyz" in service(compose, "gateway")["healthcheck"]["test"][-1]
    assert service(compose, "gateway")["ports"][0].endswith(":8000")


def test_grace_periods_are_longer_than_a_shutdown(compose: dict[str, Any]) -> None:
    settings = Settings()

    def grace(name: str) -> int:
        return int(service(compose, name)["stop_grace_period"].removesuffix("s"))

    assert grace("gateway") > LINGER_SECONDS + GRACE_SECONDS
    assert grace("worker") > settings.worker.shutdown_seconds + settings.worker.stuck_seconds
    last = 2 * settings.webhooks.timeout_seconds + LAST_PATIENCE_SECONDS
    assert grace("dispatcher") > last


def test_processes_wait_for_the_one_shots(compose: dict[str, Any]) -> None:
    done = {"condition": "service_completed_successfully"}
    for name in ("gateway", "worker", "dispatcher"):
        assert service(compose, name)["depends_on"]["migrate"] == done
    for name in ("gateway", "worker"):
        assert service(compose, name)["depends_on"]["bucket"] == done


def test_one_gpu_is_reserved_for_the_worker(compose: dict[str, Any]) -> None:
    (device,) = service(compose, "worker")["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert dockerfile("worker").count("FROM nvidia/cuda:") == 2


def test_redis_evicts_nothing(compose: dict[str, Any]) -> None:
    assert "--maxmemory-policy noeviction" in service(compose, "redis")["command"][-1]


def test_postgres_and_redis_are_on_the_internal_network_only(compose: dict[str, Any]) -> None:
    assert compose["networks"]["stores"] == {"internal": True}
    for name in ("postgres", "redis"):
        assert service(compose, name)["networks"] == ["stores"]
        assert "ports" not in service(compose, name)


def test_data_stay_in_named_volumes(compose: dict[str, Any]) -> None:
    mounted = {
        volume.split(":")[0]
        for described in compose["services"].values()
        for volume in described.get("volumes", [])
        if not volume.startswith((".", "$"))
    }
    assert mounted == set(compose["volumes"]) == {"postgres", "objects", "models"}


@pytest.mark.parametrize("name", SLIM)
def test_gateway_and_dispatcher_install_no_torch(name: str) -> None:
    assert re.findall(r"requirements/(\w+)\.txt", dockerfile(name)) == ["base"]
    installed = re.findall(r"pip install (.+)", dockerfile(name))
    assert installed == ["-r base.txt", "--no-deps ."]
    base = (ROOT / "deploy/requirements/base.txt").read_text(encoding="utf-8")
    assert re.search(r"^(torch|diffusers|transformers|pillow|numpy)==", base, re.MULTILINE) is None


@pytest.mark.parametrize("name", [*SLIM, "worker", "objects"])
def test_no_image_runs_as_root(name: str) -> None:
    (user,) = re.findall(r"^USER (\d+)", dockerfile(name), re.MULTILINE)
    assert int(user) > 0


@pytest.mark.parametrize("name", [*SLIM, "worker"])
def test_an_image_starts_its_process(name: str) -> None:
    assert dockerfile(name).rstrip().endswith(f'CMD ["infill", "{name}"]')


def test_the_build_context_has_every_copied_file() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    let_through = set(re.findall(r"^!(.+)$", ignored, re.MULTILINE))
    for name in (*SLIM, "worker"):
        for sources in re.findall(r"^COPY (?!--)(.+)$", dockerfile(name), re.MULTILINE):
            for source in sources.split()[:-1]:
                assert (ROOT / source).exists()
                assert source.split("/")[0] in let_through


def reason_to_skip() -> str | None:
    """Return why Compose cannot be run, None if it can."""
    docker = shutil.which("docker")
    if docker is None:
        return "no docker client"
    version = subprocess.run([docker, "compose", "version"], capture_output=True, check=False)
    return None if version.returncode == 0 else "the docker client has no compose plugin"


def test_compose_accepts_the_file(tmp_path: Path) -> None:
    if reason := reason_to_skip():
        pytest.skip(reason)
    filled = {name: value or "x" for name, value in example().items()}
    environment = tmp_path / "env"
    environment.write_text("".join(f"{name}='{value}'\n" for name, value in filled.items()))
    compose = [shutil.which("docker") or "", "compose", "--env-file", str(environment)]
    command = [*compose, "-f", str(COMPOSE), "config", "-q"]
    checked = subprocess.run(command, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr.decode()
