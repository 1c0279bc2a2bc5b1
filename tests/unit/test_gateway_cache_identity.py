"""What decides which cached blocks a request gets is the gateway's to say, not the client's."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import orjson
import pytest

from extproc.config.engines import ENGINES
from extproc.config.settings import Routing
from extproc.config.topology import Model, Pool, Target, Topology
from extproc.gateway.catalog import Catalog
from tests.unit.test_gateway_exchange import ADDRESSES, A, B, Bench, topology
from tests.unit.tiny_model import write_folder

PNG = b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(200))).decode()
KEYS = [{"key": f"sk-{tenant}", "tenant": tenant} for tenant in ("acme", "rival")]


def chat(*parts: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": list(parts)}], **fields}


def image(**fields: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}, **fields}


async def sent(bench: Bench, body: dict[str, Any], tenant: str = "", path: str = "/v1/chat/completions") -> Any:
    """What the replica gets."""
    more = {"authorization": f"Bearer sk-{tenant}"} if tenant else None
    mutation = (await bench.post(body, path, more)).request_body.response.body_mutation
    return orjson.loads(mutation.body) if mutation.body else body


async def test_a_clients_own_name_for_bytes_does_not_reach_the_engine() -> None:
    got = await sent(Bench(), chat({"type": "text", "text": "what is it"}, image(uuid="mine")))
    assert got == chat({"type": "text", "text": "what is it"}, image())


async def test_a_name_of_which_nothing_is_known_becomes_one_that_no_image_has() -> None:
    bare = {"type": "image_url", "image_url": None, "uuid": "theirs"}
    got = await sent(Bench(), chat(bare))
    assert got["messages"][0]["content"][0]["uuid"].startswith("unknown-")


async def test_a_body_without_names_is_not_rewritten() -> None:
    mutation = (await Bench().post(chat(image()))).request_body.response.body_mutation
    assert not mutation.body


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
async def test_where_tenants_are_kept_apart_each_has_a_salt_of_its_own(path: str) -> None:
    bench = Bench(routing=Routing(cache_salt_per_tenant=True), auth={"enabled": True, "api_keys": KEYS})
    body = chat({"type": "text", "text": "hello"}) if "chat" in path else {"model": "m", "prompt": "hello"}
    salts = [(await sent(bench, body, tenant, path))["cache_salt"] for tenant in ("acme", "rival", "acme")]
    assert salts[0] == salts[2] != salts[1]
    own = (await sent(bench, {**body, "cache_salt": "x"}, "acme", path))["cache_salt"]
    assert own not in (*salts, "x")


async def test_an_engine_that_knows_no_salts_is_sent_none() -> None:
    layout = topology(engine=ENGINES["openai"])
    bench = Bench(layout, routing=Routing(cache_salt_per_tenant=True), auth={"enabled": True, "api_keys": KEYS})
    body = chat({"type": "text", "text": "hello"})
    assert await sent(bench, body, "acme") == body


async def test_kept_apart_tenants_do_not_share_a_prefix_in_the_index() -> None:
    bench = Bench(routing=Routing(cache_salt_per_tenant=True), auth={"enabled": True, "api_keys": KEYS})
    body = chat({"type": "text", "text": "a long story " * 200})
    for tenant in ("acme", "rival"):
        await bench.post(body, more={"authorization": f"Bearer sk-{tenant}"})
    chains = [request.routed.chain for request in bench.fleet._outstanding.values()]
    assert len(chains) == 2
    assert not set(chains[0].hashes) & set(chains[1].hashes)


async def test_in_precise_mode_a_prompt_is_known_by_its_tokens_and_a_name_by_its_bytes(tmp_path: Path) -> None:
    from extproc.prefix.tokenizer import load_model

    folder = write_folder(tmp_path)
    pool = Pool("pool", (A, B))
    model = Model("m", (Target(pool, "m"),), tokenizer=folder, engine_path="/models/tiny")
    bench = Bench(Topology({"m": model}, {"pool": pool}, "pool"), routing=Routing(prefix_index="precise"))
    tokenized = {"m": load_model("m", folder, "/models/tiny")}
    current = bench.gateway.catalog.current
    bench.gateway.catalog = Catalog(
        type(current)(current.topology, current.routing, current.strategy, ADDRESSES, current.policies, tokenized)
    )
    await bench.post({"model": "m", "messages": [{"role": "user", "content": "hello there " * 50}]})
    (routed,) = (request.routed for request in bench.fleet._outstanding.values())
    assert routed.prompt is not None
    assert routed.prompt.complete
    assert routed.chain.prompt_tokens == len(routed.prompt.ids)
    assert bench.parts.tokenise.outcomes == {("m", "exact"): 1}
