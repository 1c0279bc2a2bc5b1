"""What is rendered is accepted by Envoy, in every variant."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from extproc.config.settings import Settings
from extproc.config.topology import Replica, Topology
from extproc.control import render
from extproc.control.bootstrap import render_bootstrap, write_secrets
from extproc.control.template import to_yaml
from tests.envoy.engine import Engine
from tests.envoy.plumbing import envoy, settings, topology, validate
from tests.ports import free_port

PEMS = Path(__file__).parent / "pems"
NEEDS_RENDERER = pytest.mark.skipif(sys.version_info < (3, 11), reason="envoy-data-plane needs Python 3.11")
TARGETS = ["unix:/tmp/processor.sock", "127.0.0.1:9002", "processor.svc:9002", "[::1]:9002"]
TLS = [
    None,
    {"cert": PEMS / "first.pem", "key": PEMS / "first.key"},
    {"cert": PEMS / "first.pem", "key": PEMS / "first.key", "client_ca": PEMS / "client.pem"},
]
FLEETS = {
    "nobody": Topology({}, {}, None),
    "addresses": topology(Replica("a", "10.0.0.1", 8000), Replica("b", "fd00::1", 8000, weight=0.5)),
    "host names": topology(Replica("a", "vllm-0.vllm", 8000), Replica("b", "10.0.0.1", 8000)),
    "a cluster each": topology(Replica("a", "10.0.0.1", 8000, cluster="one"), Replica("b", "h", 80, cluster="two")),
    "TLS": topology(Replica("a", "api.example.com", 443), tls=True, api_key="k", path_prefix="/x"),
}


@pytest.mark.parametrize("tls", TLS, ids=["plain", "tls", "client CA"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_bootstrap(tmp_path: Path, target: str, tls: dict[str, Any] | None) -> None:
    config = settings(tmp_path, tls=tls)
    write_secrets(config, tmp_path)
    validate(render_bootstrap(config, processor_target=target, run_dir=tmp_path), tmp_path)


@NEEDS_RENDERER
@pytest.mark.parametrize("fleet", FLEETS.values(), ids=FLEETS)
def test_the_static_configuration(tmp_path: Path, fleet: Topology) -> None:
    config = render.render_static(settings(tmp_path), fleet, processor_target="processor.svc:9002")
    validate(config, tmp_path)


@NEEDS_RENDERER
@pytest.mark.parametrize("tls", TLS[1:], ids=["tls", "client CA"])
def test_the_static_configuration_with_tls(tmp_path: Path, tls: dict[str, Any]) -> None:
    config = settings(tmp_path, tls=tls)
    validate(render.render_static(config, FLEETS["addresses"], processor_target=TARGETS[0]), tmp_path)


@NEEDS_RENDERER
async def test_the_typed_check_loses_nothing(tmp_path: Path) -> None:
    """Envoy itself is the judge: it must hold the same configuration before and after the round trip."""
    tls = {**TLS[2], "port": free_port()} if TLS[2] else None
    config = settings(tmp_path, tls=tls)
    fleet = topology(Replica("a", "127.0.0.1", 1, cluster="own"), Replica("b", "localhost", 1), tls=True)
    document = render.static_document(config, fleet, "127.0.0.1:1")
    before = await as_held_by_envoy(document, config, tmp_path)
    after = await as_held_by_envoy(render.canonical(document), config, tmp_path)
    assert before == after


async def as_held_by_envoy(document: dict[str, Any], config: Settings, folder: Path) -> Any:
    async with envoy(to_yaml(document), config, folder) as running:
        dump = json.loads(await running.admin("/config_dump"))["configs"]
        return next(each for each in dump if each["@type"].endswith("BootstrapConfigDump"))["bootstrap"]


@NEEDS_RENDERER
async def test_the_static_configuration_serves_without_any_processor(tmp_path: Path) -> None:
    engine = Engine("named")
    await engine.start()
    config = settings(tmp_path)
    replica = Replica("named", "localhost", engine.port)
    rendered = render.render_static(config, topology(replica), processor_target=f"127.0.0.1:{free_port()}")
    async with (
        envoy(rendered, config, tmp_path) as running,
        aiohttp.ClientSession() as session,
        session.post(f"{running.url}/v1/chat/completions", json={}) as reply,
    ):
        assert (reply.status, reply.headers["x-kvgate-replica"]) == (200, "named")
        assert (await reply.json())["headers"]["host"] == "localhost"
    await engine.stop()


@NEEDS_RENDERER
def test_a_misspelt_option_is_caught_before_envoy_sees_it(tmp_path: Path) -> None:
    document = render.static_document(settings(tmp_path), FLEETS["nobody"], TARGETS[0])
    document["static_resources"]["listeners"][0]["adress"] = {}
    with pytest.raises(KeyError, match="adress"):
        render.canonical(document)


def test_without_the_renderers_library_the_error_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "envoy_data_plane.envoy.config.bootstrap.v3", None)
    with pytest.raises(render.RenderUnavailable, match=r"Python 3\.11"):
        render.render_static(settings(tmp_path), FLEETS["nobody"], processor_target=TARGETS[0])


def test_two_gateways_differ_only_in_what_is_set(tmp_path: Path) -> None:
    one, two = (
        yaml.safe_load(render_bootstrap(settings(tmp_path), processor_target=TARGETS[0], run_dir=tmp_path))
        for _ in range(2)
    )
    assert one["static_resources"]["clusters"] == two["static_resources"]["clusters"]
    assert one["admin"] != two["admin"]
