"""What the console's process is told: where it listens, which two servers it shows, where the stack's state lies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from stackctl.stack import ENDPOINT_BY_NAME, EngineConfig

_ANY_ADDRESS = "0.0.0.0"  # listen everywhere; nobody can be reached at it
_LOOPBACK = "127.0.0.1"
STATE_FILE = "stack.json"  # what the runtime writes into the data directory


@dataclass(frozen=True)
class ConsoleConfig:
    """The settings of one console.

    Attributes:
        prometheus: base URL of a Prometheus API.
        tempo: base URL of a Tempo API.
        token_file: bearer token that the two servers, and then the console too, ask for; None on loopback.
        state_file: the stack's state as JSON; None where the console stands alone.
        status: URL where the engine says what it counts; None where there is no engine.
    """

    prometheus: str
    tempo: str
    host: str = _LOOPBACK
    port: int = ENDPOINT_BY_NAME["console"].port
    token_file: Path | None = None
    state_file: Path | None = None
    status: str | None = None

    @classmethod
    def of_engine(cls, config: EngineConfig) -> Self:
        """Return the console of an embedded stack."""
        host = _LOOPBACK if config.host == _ANY_ADDRESS else config.host
        return cls(
            prometheus=f"http://{host}:{config.ports['prometheus']}",
            tempo=f"http://{host}:{config.ports['tempo']}",
            host=config.host,
            port=config.ports["console"],
            token_file=Path(config.token_file) if config.token_file else None,
            state_file=Path(config.data_dir) / STATE_FILE,
            status=f"http://{host}:{config.ports['otlp_http']}/-/status",
        )

    def token(self) -> str | None:
        """Return the bearer token; None on loopback."""
        return self.token_file.read_text(encoding="utf-8").strip() if self.token_file else None
