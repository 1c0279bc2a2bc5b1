"""docker-compose.yml, as Docker Compose itself understands it. No container is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.config.load import load
from extproc.config.settings import Settings

from .programs import DEPLOY, ROOT, run

ENV = {"KVGATE_OPERATIONS_TOKEN": "only-for-tests", "REDIS_URL": "redis://redis:6379/0", "HOME": "/nonexistent"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    result = run("docker-compose", "config", "--format", "json", env=ENV)
    assert result.returncode == 0, result.stderr
    assert not result.stderr, "Compose warns"
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.fixture(scope="module")
def gateway() -> Settings:
    loaded = load(DEPLOY / "compose" / "kvgate.yaml", ENV)
    assert not loaded.warnings
    return loaded.settings


def published(service: dict[str, Any]) -> list[tuple[str, int]]:
    return [(port.get("host_ip", ""), port["target"]) for port in service.get("ports", [])]


def test_without_a_token_compose_says_what_to_do() -> None:
    result = run("docker-compose", "config", "--quiet", env={"HOME": "/nonexistent"})
    assert result.returncode != 0
    assert "put KVGATE_OPERATIONS_TOKEN=... into .env" in result.stderr


def test_nothing_runs_as_root_or_may_become_root(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        user = service["user"].split(":")[0]
        assert user.isdigit() and user != "0", name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["read_only"] is True, name


def test_every_service_has_a_health_check_that_others_wait_for(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service.get("healthcheck") or name == "gateway", name  # the gateway's is in its image
        for condition in service.get("depends_on", {}).values():
            assert condition["condition"] == "service_healthy", name


def test_images_are_pinned_by_tag(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        tag = service["image"].rpartition(":")[2]
        assert tag == "local" or any(character.isdigit() for character in tag), service["image"]


def test_ports_are_published_on_loopback_only_and_no_more_than_needed(compose: dict[str, Any]) -> None:
    ports = {name: published(service) for name, service in compose["services"].items()}
    assert all(host == "127.0.0.1" for each in ports.values() for host, _ in each)
    assert {name for name, each in ports.items() if each} == {"gateway", "prometheus", "grafana"}


def test_published_ports_are_the_ones_that_the_gateway_listens_on(compose: dict[str, Any], gateway: Settings) -> None:
    targets = {port for _, port in published(compose["services"]["gateway"])}
    assert targets == {gateway.server.port, gateway.operations.port}
    assert targets == {Settings().server.port, Settings().operations.port}, "the defaults, which the docs name"


def test_every_replica_of_the_configuration_is_a_service_that_listens_there(
    compose: dict[str, Any], gateway: Settings
) -> None:
    named = {f"{each.url.host}:{each.url.port}" for provider in gateway.providers for each in provider.replicas}
    simulated = {name: each["command"] for name, each in compose["services"].items() if name.startswith("replica-")}
    assert named == {f"{name}:{command[command.index('--port') + 1]}" for name, command in simulated.items()}
    models = {command[command.index("--model") + 1] for command in simulated.values()}
    assert models == {model.name for model in gateway.models}


def test_every_folder_that_is_mounted_exists(compose: dict[str, Any]) -> None:
    binds = [
        (name, Path(volume["source"]))
        for name, service in compose["services"].items()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    ]
    missing = [(name, str(path.relative_to(ROOT))) for name, path in binds if not path.exists()]
    assert not missing
    assert all(volume["read_only"] for each in compose["services"].values() for volume in each.get("volumes", [])
               if volume["type"] == "bind")  # fmt: skip


def test_data_is_on_named_volumes(compose: dict[str, Any]) -> None:
    used = {
        volume["source"]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
        if volume["type"] == "volume"
    }
    assert used == set(compose["volumes"])


def test_redis_and_replicas_cannot_be_reached_from_outside(compose: dict[str, Any]) -> None:
    assert compose["networks"]["fleet"]["internal"] is True
    for name, service in compose["services"].items():
        if name == "redis" or name.startswith("replica-"):
            assert list(service["networks"]) == ["fleet"], name


def test_a_gateway_that_stops_has_the_time_that_it_may_take(compose: dict[str, Any], gateway: Settings) -> None:
    grace = compose["services"]["gateway"]["stop_grace_period"]
    assert grace == "1m15s"
    assert 2 * gateway.processor.drain_timeout_s + 15 <= 75


def test_prometheus_is_told_where_things_are_in_compose(gateway: Settings) -> None:
    jobs = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    files = [file for job in jobs for found in job["file_sd_configs"] for file in found["files"]]
    targets = {
        file: {
            target
            for group in yaml.safe_load((DEPLOY / "prometheus" / file).read_text())
            for target in group["targets"]
        }
        for file in files
    }
    replicas = {f"{each.url.host}:{each.url.port}" for provider in gateway.providers for each in provider.replicas}
    assert targets["targets/gateways.yml"] == {f"gateway:{gateway.operations.port}"}
    assert targets["targets/replicas.yml"] == replicas
    assert gateway.operations.metrics_open, "Prometheus has no token"


def test_grafana_finds_its_dashboards_where_they_are_mounted(compose: dict[str, Any]) -> None:
    mounted = {volume["target"] for volume in compose["services"]["grafana"]["volumes"]}
    providers = [
        provider
        for file in (DEPLOY / "grafana" / "provisioning" / "dashboards").glob("*.y*ml")
        for provider in yaml.safe_load(file.read_text())["providers"]
    ]
    assert providers
    for provider in providers:
        assert provider["options"]["path"] in mounted
