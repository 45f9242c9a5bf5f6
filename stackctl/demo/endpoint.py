"""How the application reaches its model endpoint: the simulator on loopback, or a real one that the user named.

Instrumentations write the host of the client's base URL into `server.address`, and that address says whose prices
apply. So the simulator is called by a name of its own, for which the price book has a row, and a transport leads that
name to loopback.
"""

import httpx2
import openai

from stackctl.genai.prices import SIMULATOR_HOST

_TIMEOUT_SECONDS = 60.0
_RETRIES = 2  # the openai client's own default


class _ToLoopback(httpx2.HTTPTransport):
    """Sends every request to one port of this machine, whatever host it names."""

    def __init__(self, port: int) -> None:
        super().__init__(trust_env=False, limits=httpx2.Limits(max_connections=None))
        self._port = port

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request to loopback."""
        request.url = request.url.copy_with(host="127.0.0.1", port=self._port)
        return super().handle_request(request)


def simulated(port: int) -> openai.OpenAI:
    """Return a client of the simulator.

    Args:
        port: where it listens on loopback.
    """
    return openai.OpenAI(
        base_url=f"http://{SIMULATOR_HOST}/v1",
        api_key="none-needed",
        max_retries=_RETRIES,
        http_client=httpx2.Client(transport=_ToLoopback(port), timeout=_TIMEOUT_SECONDS, trust_env=False),
    )


def real(base_url: str, api_key: str) -> openai.OpenAI:
    """Return a client of an endpoint that the user named."""
    return openai.OpenAI(
        base_url=base_url,
        api_key=api_key,
        max_retries=_RETRIES,
        http_client=httpx2.Client(timeout=_TIMEOUT_SECONDS, trust_env=False),
    )
