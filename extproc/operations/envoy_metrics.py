"""What Envoy counts, asked of its admin page, which only this machine should reach."""

from __future__ import annotations

import aiohttp

from extproc.admin.errors import Away
from extproc.config.topology import host_port

_TIMEOUT_S = 5.0


class EnvoyMetrics:
    """The metrics of the Envoy that runs beside this processor.

    Args:
        host: where its admin page is; every address stands for this machine.
    """

    def __init__(self, host: str, port: int) -> None:
        reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        self._url = f"http://{host_port(reached, port)}/stats/prometheus"

    async def __call__(self) -> bytes:
        """In Prometheus' text format.

        Raises:
            Away: Envoy's admin page does not answer.
        """
        try:
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(self._url) as response:
                if response.status == 200:
                    return await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass
        raise Away("Envoy's admin page (envoy.admin_host, envoy.admin_port) does not answer.")
