"""The machine's own Chromium, headless, over its DevTools protocol: enough of it to use a page as a person would."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

DEADLINE_S = 30.0
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--remote-debugging-port=0", "--remote-allow-origins=*", "--enable-precise-memory-info"),
)
_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27}


def executable() -> str | None:
    """Where Chromium is, if it is installed."""
    return next((found for found in map(shutil.which, _NAMES) if found), None)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser with a profile of its own, for as long as the context."""
    found = executable()
    assert found is not None, "no Chromium is installed"
    profile = Path(tempfile.mkdtemp(prefix="kvgate-chromium-"))
    process = await asyncio.create_subprocess_exec(
        found, *_FLAGS, f"--user-data-dir={profile}", "about:blank", stderr=asyncio.subprocess.PIPE, limit=2**20
    )
    try:
        address = await asyncio.wait_for(_address(process), DEADLINE_S)
        async with aiohttp.ClientSession() as http, http.ws_connect(address, max_msg_size=0) as socket:
            tasks = [asyncio.create_task(_drain(process))]
            browser = Browser(socket)
            tasks.append(asyncio.create_task(browser.listen()))
            try:
                yield browser
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        shutil.rmtree(profile, ignore_errors=True)


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async for line in process.stderr:
        if b"DevTools listening on " in line:
            return line.split(b"listening on ")[1].decode().strip()
    raise RuntimeError("Chromium ended before it listened")


async def _drain(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    while await process.stderr.read(65536):
        pass


class Browser:
    """Commands out, events in."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[Any]) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    async def listen(self) -> None:
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                self._waiting.pop(said["id"]).set_result(said)
            elif said.get("sessionId") in self._pages:
                self._pages[said["sessionId"]].heard(said["method"], said["params"])

    async def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        about = {} if session is None else {"sessionId": session}
        await self._socket.send_str(json.dumps({"id": number, "method": method, "params": params, **about}))
        said = await asyncio.wait_for(answer, DEADLINE_S)
        assert "error" not in said, f"{method}: {said['error']}"
        result: dict[str, Any] = said["result"]
        return result

    @asynccontextmanager
    async def page(
        self, width: int = 1360, height: int = 900, *, dark: bool = False, still: bool = False, touch: bool = False
    ) -> AsyncIterator[Page]:
        """A tab of its own, with a storage of its own.

        Args:
            dark: what the system prefers.
            still: whether the system asks for reduced motion.
            touch: whether it is a phone.
        """
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        target = await self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Network", "Log"):
            await page.call(f"{domain}.enable")
        await page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch
        )
        await page.prefer(dark=dark, still=still)
        try:
            yield page
        finally:
            del self._pages[attached["sessionId"]]
            await self.call("Target.disposeBrowserContext", browserContextId=context)


class Page:
    """A tab. `errors` is whatever its console complained of, `requests` the addresses that it asked for."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.errors: list[str] = []
        self.requests: list[str] = []

    def heard(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(each.get("value", each.get("description"))) for each in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        return await self._browser.call(method, self._session, **params)

    async def prefer(self, *, dark: bool = False, still: bool = False) -> None:
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def go(self, url: str) -> None:
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        said = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    async def until(self, condition: str, deadline_s: float = DEADLINE_S) -> None:
        """Waits until an expression is true.

        Raises:
            AssertionError: it was not in time.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + deadline_s
        while not await self._holds(condition):
            assert loop.time() < ends_at, f"not in time: {condition}; the console said {self.errors}"
            await asyncio.sleep(0.03)

    async def _holds(self, condition: str) -> bool:
        said = await self.call("Runtime.evaluate", expression=f"Boolean({condition})", returnByValue=True)
        return said["result"].get("value") is True  # an exception: the page is not there yet

    async def text(self, selector: str) -> str:
        said = await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")
        return str(said)

    async def count(self, selector: str) -> int:
        return int(await self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length"))

    async def click(self, selector: str) -> None:
        """With the mouse, in the middle of the element."""
        box = await self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            " return [b.left + b.width / 2, b.top + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    async def press(self, key: str) -> None:
        about = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **about, **({"text": "\r"} if key == "Enter" else {}))
        await self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    async def screenshot(self) -> bytes:
        """What can be seen, as PNG."""
        said = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(said["data"])

    async def heap_bytes(self) -> int:
        """What lives, after garbage collection."""
        await self.call("HeapProfiler.collectGarbage")
        return int((await self.call("Runtime.getHeapUsage"))["usedSize"])
