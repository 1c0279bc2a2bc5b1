"""The tokens that the gateway makes of a request are those that vLLM makes of it; the names of images, too."""

from __future__ import annotations

import asyncio
import json
import random
import urllib.error
import urllib.request
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from extproc.api.body import parse
from extproc.api.cache_identity import with_engine_uuids, with_salt
from extproc.api.requests import Endpoint
from extproc.prefix.client_uuids import ClientUuids
from extproc.prefix.exact import ExactPrompt, Inexact, MediaRun
from extproc.prefix.media import Identities
from extproc.prefix.media_runs import MediaRuns
from extproc.prefix.tokenizer import load_model
from extproc.prefix.tokenizer.exactly import TokenizedModel, fingerprint_exactly
from tests.engine.engines import Engine
from tests.engine.process import VENV, Process
from tests.engine.varied_requests import picture, requests
from tests.ports import free_ports

Body = dict[str, Any]


class Renderer(Process):
    """vLLM's renderer alone: the code that makes prompts, without a model to run them."""

    def __init__(self, folder: Path) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        argv = ["vllm", "launch", "render", "--model", str(folder), "--served-model-name", "m"]
        argv += ["--host", "127.0.0.1", "--port", str(port), "--max-model-len", "16384", "--enable-scale-out"]
        env = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
        super().__init__("renderer", argv, env, f"{self.url}/health")


@pytest.fixture
async def string_model(tmp_path: Path) -> AsyncIterator[tuple[str, TokenizedModel]]:
    """The model with a template that takes contents as strings, and knows tools, documents and thoughts."""
    for file in (VENV / "models" / "tiny-llava").iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "chat_template.jinja").unlink()
    template = Path(__file__).parent / "string_template.jinja"
    (tmp_path / "chat_template.jinja").write_text(template.read_text())
    async with Renderer(tmp_path) as renderer:
        yield renderer.url, load_model("m", tmp_path, str(tmp_path))


def model_of(engine: Engine) -> TokenizedModel:
    return load_model(engine.model, VENV / "models" / engine.model, f".venv-engine/models/{engine.model}")


async def test_chats_of_parts(engines: Sequence[Engine]) -> None:
    await compare(engines[0].url, model_of(engines[0]))


async def test_chats_of_strings(string_model: tuple[str, TokenizedModel]) -> None:
    await compare(*string_model)


async def compare(url: str, model: TokenizedModel) -> None:
    """Renders some 220 requests on both sides; every difference is shown."""
    runs = MediaRuns()
    outcomes, differences = Counter[str](), []
    for label, endpoint, body in requests(seed=1, images=True):
        theirs = await rendered(url, endpoint, {**body, "model": model.name})
        ours = fingerprint_exactly(parse(endpoint, json.dumps(body).encode()), model, runs)
        if theirs is None:
            outcomes["refused by the engine"] += 1
            continue
        if same(ours, theirs):
            assert isinstance(ours, ExactPrompt)
            outcomes["equal" if ours.complete else f"equal up to {ours.cut_by}"] += 1
        else:
            differences.append((label, ours, theirs))
        for run in theirs.media:
            # As the engine's events will tell.
            runs.learn(run.identifier, run.length, theirs.ids[run.start : run.start + run.length])
    print(model.name, dict(outcomes), f"{len(differences)} different")
    assert not differences
    assert outcomes["equal"] >= 200
    assert outcomes["refused by the engine"] <= 3


def same(ours: ExactPrompt | Inexact, theirs: ExactPrompt) -> bool:
    if isinstance(ours, Inexact):
        return False
    ids, media = theirs.ids, theirs.media
    if not ours.complete:
        ids, media = ids[: len(ours.ids)], media[: len(ours.media)]
    return (ours.ids, ours.media, ours.cache_salt) == (ids, media, theirs.cache_salt)


async def rendered(url: str, endpoint: Endpoint, body: Body) -> ExactPrompt | None:
    """What vLLM makes of a body; None if it refuses it."""
    if endpoint is Endpoint.CHAT_COMPLETIONS:
        body = {**body, "mm_payload": "none"}
    try:
        text = await asyncio.to_thread(post, f"{url}{endpoint.value}/render", body)
    except urllib.error.HTTPError as error:
        assert error.code == 400
        return None
    answer = json.loads(text)
    prompt = answer[0] if isinstance(answer, list) else answer
    features = prompt.get("features") or {}
    names = (features.get("mm_hashes") or {}).get("image", [])
    places = (features.get("mm_placeholders") or {}).get("image", [])
    media = [MediaRun(at["offset"], at["length"], name) for at, name in zip(places, names, strict=True)]
    return ExactPrompt(array("I", prompt["token_ids"]), tuple(media), "", prompt.get("cache_salt") or "")


def post(url: str, body: Body) -> str:
    """What a POST answers.

    Raises:
        urllib.error.HTTPError: it is refused.
    """
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return str(response.read().decode())


async def test_a_clients_uuid_does_not_decide_what_bytes_the_engine_takes(engines: Sequence[Engine]) -> None:
    model, uuids = model_of(engines[0]), ClientUuids()
    chance = random.Random(7)
    mine, other = (picture(chance, (64, 48), ("PNG", "RGB")) for _ in range(2))
    alone = {"type": "image_url", "image_url": None}

    async def both(part: Body, tenant: str) -> tuple[str, str | None]:
        """The engine's name for the image: as foreseen, and as rendered."""
        body = {"model": model.name, "messages": [{"role": "user", "content": [{**part, "uuid": "u"}]}]}
        content = json.dumps(body).encode()
        request, identities = parse(Endpoint.CHAT_COMPLETIONS, content), Identities()
        uuids.learn(request, tenant, model.engine_model, identities)
        names = Names()

        def engine_uuid(uuid: str) -> str:
            return uuids.engine_uuid(tenant, model.engine_model, uuid)

        fingerprint_exactly(request, model, names, identities=identities, engine_uuid=engine_uuid)
        sent = json.loads(with_salt(with_engine_uuids(content, request, engine_uuid), "s"))
        theirs = await rendered(engines[0].url, Endpoint.CHAT_COMPLETIONS, sent)
        return names.seen[0], theirs.media[0].identifier if theirs else None

    first, really = await both(mine, "a")
    assert first == really
    second, really = await both(other, "a")
    assert second == really != first
    assert await both(alone, "a") == (second, second)
    assert (await both(alone, "b"))[1] is None


class Names(MediaRuns):
    """Takes down the names of the images it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def saw(self, identifier: str, size: tuple[int, int], model: str) -> None:
        self.seen.append(identifier)
