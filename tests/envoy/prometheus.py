"""A real Prometheus with the configuration that is shipped, only faster, and other targets."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import pytest
import yaml

from tests.envoy.gateway import until
from tests.ports import free_port

SHIPPED = Path(__file__).parents[2] / "deploy" / "prometheus"
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None,
    reason="there is no prometheus on this machine (Debian: apt-get install prometheus)",
)


@dataclass(frozen=True)
class Sample:
    """One series of an answer."""

    labels: Mapping[str, str]
    value: float


class Prometheus:
    """Scrapes twice a second.

    Args:
        targets: addresses by the name of the file in `targets/`, without its suffix.
    """

    def __init__(self, folder: Path, targets: Mapping[str, Sequence[str]]) -> None:
        self._url = f"http://127.0.0.1:{free_port()}"
        self._folder = folder
        shutil.copytree(SHIPPED, folder / "config")
        config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
        self._jobs = {each["job_name"] for each in config["scrape_configs"]}
        (folder / "config" / "prometheus.yml").write_text(yaml.safe_dump(config))
        for name, addresses in targets.items():
            (folder / "config" / "targets" / f"{name}.yml").write_text(yaml.safe_dump([{"targets": list(addresses)}]))

    async def __aenter__(self) -> Prometheus:
        with (self._folder / "log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                "prometheus",
                f"--config.file={self._folder / 'config' / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address={self._url.removeprefix('http://')}",
                stdout=log,
                stderr=log,
            )
        self._http = aiohttp.ClientSession(self._url)
        try:
            await until(self._ready, lambda: f"Prometheus is ready; log:\n{(self._folder / 'log').read_text()[-3000:]}")
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()
        if self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    async def ask(self, expression: str) -> list[Sample]:
        """What an expression is now.

        Raises:
            AssertionError: Prometheus does not understand it.
        """
        async with self._http.post("/api/v1/query", data={"query": expression}) as response:
            answer = await response.json()
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        return [Sample(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]

    async def rules(self) -> list[dict[str, Any]]:
        """Every rule, with what came of evaluating it."""
        async with self._http.get("/api/v1/rules") as response:
            groups = (await response.json())["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def targets(self) -> list[dict[str, Any]]:
        """Every target, with what came of scraping it."""
        async with self._http.get("/api/v1/targets") as response:
            targets: list[dict[str, Any]] = (await response.json())["data"]["activeTargets"]
            return targets

    async def until_scraped(self) -> None:
        """Waits until every target has answered once."""

        async def scraped() -> bool:
            targets = await self.targets()
            found = {target["labels"]["job"] for target in targets}
            return found == self._jobs and all(target["health"] == "up" for target in targets)

        await until(scraped, lambda: "every target is scraped")

    async def _ready(self) -> bool:
        assert self._process.returncode is None, (self._folder / "log").read_text()[-3000:]
        with contextlib.suppress(aiohttp.ClientError):
            async with self._http.get("/-/ready") as response:
                return response.status == 200
        return False
