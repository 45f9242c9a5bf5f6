"""What `stackctl run` puts first on PYTHONPATH: Python imports this file before the application's first line.

It stands alone, with the `_stackctl_*.py` beside it: the application's environment need not have stackctl, and its
Python may be older. It starts OpenTelemetry as `opentelemetry-instrument` does, with exactly one instrumentation of the
openai client, keeps clients that trace by themselves from doing so beside an instrumentation, marks inference spans
inside inference spans, watches streams, flushes when the process ends, and then runs the sitecustomize that the
environment had before.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

if False:  # for the type checker; costs an application nothing
    from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))

# All of these patch the openai client under one entry point name, so together they would count each call twice.
# The first that can be imported is used.
_OPENAI_INSTRUMENTATIONS = (
    "opentelemetry-instrumentation-genai-openai",
    "opentelemetry-instrumentation-openai-v2",
    "opentelemetry-instrumentation-openai",
    "openinference-instrumentation-openai",
)
_ENTRY_POINTS, _ENTRY_POINT = "opentelemetry_instrumentor", "openai"
_DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
# Clients that trace by themselves, by the entry point of their instrumentations, and what keeps them from it: the two
# spans of a call stand side by side, and nothing in either tells of the other. anthropic 2, `_tracing.py`.
_OWN_TRACING = {"anthropic": "ANTHROPIC_OPEN_TELEMETRY"}
_FLUSH_SECONDS = 10.0

_NESTED = "stackctl.nested_inference"


def _nested_marker(streams: Any) -> Any:
    """Return the span processor that marks an inference span whose parent in this process already is one.

    It tells the streams of each inference span as well.
    """
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor

    class NestedInference(SpanProcessor):
        """Marks at the start, since a span can no longer be changed when it ends."""

        def on_start(self, span: Any, parent_context: Any = None) -> None:
            if not streams.is_inference(span):
                return
            streams.opened(span)
            parent = trace.get_current_span(parent_context)
            if parent.is_recording() and streams.is_inference(parent):
                span.set_attribute(_NESTED, True)

    return NestedInference()


def _providers() -> tuple[Any, Any, Any]:
    """Return the three telemetry providers of this process."""
    from opentelemetry import _logs, metrics, trace

    return trace.get_tracer_provider(), _logs.get_logger_provider(), metrics.get_meter_provider()


def _flush() -> None:
    """Send what is queued. Exporters log their own failures; there is nobody else to tell at this point."""
    for provider in _providers():
        flush = getattr(provider, "force_flush", None)
        if flush is not None:
            flush(int(_FLUSH_SECONDS * 1000))


def _flush_on_termination() -> None:
    """Flush before SIGTERM ends the process, unless the application handles that signal itself."""
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return

    def terminate(number: int, _frame: Any) -> None:
        # In a thread of its own: the signal may have interrupted the main thread while it held an exporter's lock.
        flusher = threading.Thread(target=_flush, daemon=True)
        flusher.start()
        flusher.join(_FLUSH_SECONDS)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, terminate)


def _flush_in_worker_processes() -> None:
    """Flush at the end of multiprocessing's forked workers too, which leave by os._exit without atexit."""
    from multiprocessing import util

    util.register_after_fork(_flush, lambda _: util.Finalize(None, _flush, exitpriority=0))


def _instrument_openai(streams: Any) -> None:
    """Switch on the first instrumentation of the openai client that this environment can import."""
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    found: dict[str, Any] = {}
    for entry in entry_points(group=_ENTRY_POINTS, name=_ENTRY_POINT):
        if entry.dist is not None:
            found.setdefault(entry.dist.name.lower().replace("_", "-"), entry)
    if not found or find_spec("openai") is None:
        return
    if os.environ.get("STACKCTL_ASK_USAGE"):
        import_module("_stackctl_asking").ask_inside()
    failures = []
    for distribution in _OPENAI_INSTRUMENTATIONS:
        if distribution not in found:
            continue
        try:
            found[distribution].load()().instrument(skip_dep_check=True)
        except ImportError as error:  # openai-v2 beside openai 3, for example: it says nothing by itself
            failures.append(f"{distribution}: {error}")
        else:
            streams.watch_outside()
            return
    for failure in failures:
        sys.stderr.write(f"stackctl run: calls of the openai client are not seen, {failure}\n")


def _quiet_clients(disabled: list[str]) -> None:
    """Let instrumentations alone tell of clients that would tell of their calls as well, unless the user chose."""
    from importlib.metadata import entry_points

    for name, switch in _OWN_TRACING.items():
        if name not in disabled and "*" not in disabled and entry_points(group=_ENTRY_POINTS, name=name):
            os.environ.setdefault(switch, "false")


def _start() -> None:
    """Start telemetry in this process."""
    try:
        from opentelemetry.instrumentation.auto_instrumentation import initialize
    except ImportError:
        if os.environ.get("STACKCTL_RUN") == "unchecked":
            sys.stderr.write(
                f"stackctl run: not instrumented, since {sys.executable} lacks packages; install them: "
                f"{sys.executable} -m pip install opentelemetry-distro opentelemetry-exporter-otlp-proto-http "
                "opentelemetry-instrumentation-genai-openai\n"
            )
        return
    disabled = os.environ.get(_DISABLED, "")
    words = [word.strip() for word in disabled.split(",")]
    _quiet_clients(words)
    os.environ[_DISABLED] = ",".join(filter(None, (disabled, _ENTRY_POINT)))
    try:
        initialize()
    finally:
        os.environ[_DISABLED] = disabled
    streams, provider = import_module("_stackctl_streams"), _providers()[0]
    if hasattr(provider, "add_span_processor"):
        provider.add_span_processor(_nested_marker(streams))
    if _ENTRY_POINT not in words and "*" not in words:
        _instrument_openai(streams)
    _flush_on_termination()
    _flush_in_worker_processes()


def _run_shadowed() -> None:
    """Run the sitecustomize that this file hides, such as a distribution's own."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    elsewhere = [path for path in sys.path if os.path.abspath(path or os.curdir) != _HERE]
    spec = PathFinder.find_spec("sitecustomize", elsewhere)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


if os.environ.get("STACKCTL_RUN"):
    _start()
_run_shadowed()
