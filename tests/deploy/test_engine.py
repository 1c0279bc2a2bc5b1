"""deploy/engine: a file that fits the gateway, and in itself."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from extproc.config.load import load
from extproc.config.settings import Settings

FILE = Path(__file__).parents[2] / "deploy" / "engine" / "kvgate.yaml"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As read where `make engine` has built the model."""
    model = tmp_path / ".venv-engine" / "models" / "tiny-llava"
    model.mkdir(parents=True)
    (model / "tokenizer.json").touch()
    monkeypatch.chdir(tmp_path)
    loaded = load(FILE, {})
    assert not loaded.warnings
    return loaded.settings


def test_each_replica_is_a_program_that_is_ready_when_it_is_healthy(settings: Settings) -> None:
    (provider,) = settings.providers
    ready = {program.name: program.ready_url for program in settings.programs}
    assert {replica.name: f"{replica.url}health" for replica in provider.replicas}.items() <= ready.items()


def test_replicas_differ_in_their_ports_and_cores_alone(settings: Settings) -> None:
    first, second = (program for program in settings.programs if program.name.startswith("vllm-"))
    words = zip(first.command, second.command, strict=True)
    assert len([pair for pair in words if pair[0] != pair[1]]) == 2  # the port, and those of the KV events
    assert {first.env["VLLM_CPU_OMP_THREADS_BIND"], second.env["VLLM_CPU_OMP_THREADS_BIND"]} == {"0", "1"}


def test_the_gateway_listens_where_each_replica_publishes(settings: Settings) -> None:
    (provider,) = settings.providers
    commands = {program.name: program.command for program in settings.programs}
    for replica in provider.replicas:
        (events,) = (json.loads(word) for word in commands[replica.name or ""] if "replay_endpoint" in word)
        heard = tuple(str(url).replace("127.0.0.1", "*") for url in (replica.kv_events_url, replica.replay_url))
        assert heard == (events["endpoint"], events["replay_endpoint"])


def test_no_port_is_used_twice_and_none_but_those_of_kv_events_is_open_to_others(settings: Settings) -> None:
    addresses = [urlsplit(program.ready_url or "") for program in settings.programs]
    assert {address.hostname for address in addresses} == {"127.0.0.1"}
    for program in settings.programs:
        events = [word for word in program.command if "replay_endpoint" in word]
        # vLLM binds where it reads a star, and connects to any other address.
        addresses += [urlsplit(json.loads(word)[key]) for word in events for key in ("endpoint", "replay_endpoint")]
    ports = [address.port for address in addresses]
    assert len(set(ports)) == len(ports) == 8
