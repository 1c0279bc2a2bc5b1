"""Requests whose answers may be cached, sent to a gateway, and what came back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import aiohttp

from tests.envoy.gateway import Gateway, until

CHAT = "/v1/chat/completions"
_numbers = count()


@dataclass(frozen=True)
class Got:
    """A whole reply."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def cache(self) -> str:
        """How the answer came about, as the header says."""
        return self.headers.get("x-kvgate-cache", "")

    @property
    def json(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self.text)
        return fields

    @property
    def events(self) -> list[dict[str, Any]]:
        """Of a stream, without the last one, which is `[DONE]`."""
        lines = [line.removeprefix("data: ") for line in self.text.splitlines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]", self.text[-300:]
        return [json.loads(line) for line in lines[:-1]]

    @property
    def said(self) -> str:
        """The text of a chat answer, streamed or not."""
        if self.headers["content-type"].startswith("text/event-stream"):
            choices = (choice for event in self.events for choice in event["choices"])
            return "".join(choice["delta"].get("content") or "" for choice in choices)
        return str(self.json["choices"][0]["message"]["content"])


def fresh() -> str:
    """A prompt that nobody has sent before."""
    return f"Tell me of the number {next(_numbers)}."


def chat(prompt: Any, **fields: Any) -> dict[str, Any]:
    """A deterministic chat request."""
    message = {"role": "user", "content": prompt}
    return {"model": "m", "temperature": 0, "max_tokens": 5, "messages": [message], **fields}


async def ask(
    gateway: Gateway,
    body: Mapping[str, Any],
    *,
    key: str = "none",
    directives: str = "",
    path: str = CHAT,
    session: aiohttp.ClientSession | None = None,
) -> Got:
    """Sends it and reads the whole reply."""
    headers = {"authorization": f"Bearer {key}"}
    if directives:
        headers["x-kvgate-cache-control"] = directives
    async with (session or gateway.http).post(gateway.url + path, json=body, headers=headers) as response:
        return Got(response.status, response.headers, await response.text())


async def upstream(gateway: Gateway) -> int:
    """Requests that have reached the replicas."""
    return sum([(await gateway.sim_state(name))["received"] for name in gateway.replicas])


async def until_upstream(gateway: Gateway, requests: int) -> None:
    """Until so many have reached the replicas."""

    async def reached() -> bool:
        return await upstream(gateway) >= requests

    await until(reached, lambda: f"fewer than {requests} requests went upstream")


async def until_active(gateway: Gateway, requests: int) -> None:
    """Until Envoy has so many that have not been answered."""
    url = f"http://127.0.0.1:{gateway.admin_port}/stats?filter=http.kvgate.downstream_rq_active"

    async def active() -> bool:
        async with gateway.http.get(url) as response:
            return int((await response.text()).split()[-1]) >= requests

    await until(active, lambda: f"fewer than {requests} requests have come")


async def until_up(gateway: Gateway, replica: str) -> None:
    """Until a replica that died has been started again."""

    async def up() -> bool:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            await gateway.sim_state(replica)
            return True
        return False

    await until(up, lambda: f"{replica} is down")


async def on_all(gateway: Gateway, **fault: Any) -> None:
    """Sets a fault switch of every replica."""
    for name in gateway.replicas:
        await gateway.fault(name, **fault)


async def measured(gateway: Gateway, metric: str) -> float:
    """The sum of a metric's samples."""
    async with gateway.http.get(f"{gateway.operations_url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.partition(" ")[0].partition("{")[0] == metric)


async def until_measured(gateway: Gateway, metric: str, value: float) -> None:
    """Until it is that."""

    async def is_that() -> bool:
        return await measured(gateway, metric) == value

    await until(is_that, lambda: f"{metric} is not {value}")
