"""Stand-ins for the engine's programs, to make one die or hang on demand: the real ones do not do so when asked.

`programs.py supervise DATA_DIR PART...` runs the real supervisor over them.
"""

import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from stackctl.runtime.supervisor import Program, Supervisor
from stackctl.stack import EngineConfig

PARTS = {
    "ingest": Program("ingest", (__file__, "ingest"), "otlp_http", (("otlp_http", "/-/ready"),)),
    "query": Program("query", (__file__, "query"), "prometheus", (("prometheus", "/-/ready"), ("tempo", "/ready"))),
    "dies": Program("dies", (__file__, "dies"), "otlp_http", (("otlp_http", "/"),)),
    "deaf": Program("deaf", (__file__, "deaf"), "otlp_http", (("otlp_http", "/"),)),
}


class _Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the log for what a test looks for."""


def serve(config: EngineConfig, *endpoints: str) -> None:
    """Answer readiness on some endpoints until SIGTERM."""
    for name in endpoints:
        server = ThreadingHTTPServer((config.host, config.ports[name]), _Ready)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("serving", *endpoints, flush=True)
    signal.pause()


def main(part: str, target: str, *parts: str) -> None:
    """Play one part: `ingest` and `query` serve, `dies` ends at once, `deaf` cannot be asked to end."""
    match part:
        case "supervise":
            Supervisor(Path(target), leash=0, programs=[PARTS[name] for name in parts], stop_seconds=1.0).run()
        case "ingest":
            serve(EngineConfig.read(Path(target)), "otlp_http")
        case "query":
            serve(EngineConfig.read(Path(target)), "prometheus", "tempo")
        case "dies":
            print("no luck today", file=sys.stderr, flush=True)
            os._exit(7)
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
