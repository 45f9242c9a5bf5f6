"""Programs run instrumented: what arrives at an OTLP receiver from real processes with the real openai client."""

import os
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from otlp_sink import OtlpSink, otlp_sink

from stackctl.demo.conductor import simulator
from stackctl.demo.model import Behaviour
from stackctl.launch import Telemetry, check, environment, interpreter_of, service_name

CANARY = "canary-question-4711"
CALM = Behaviour(rate_limited=0, retried=0, server_error=0, broken_stream=0, slowness=0.1)

APP = f"""
import os, signal, sys, time
import openai

def ask():
    client = openai.OpenAI(base_url=os.environ["TEST_BASE_URL"], api_key="x")
    client.chat.completions.create(model="gpt-4o-mini", messages=[{{"role": "user", "content": "{CANARY}"}}])

mode = sys.argv[1]
if mode == "nested":
    from opentelemetry import trace
    with trace.get_tracer("a-framework").start_as_current_span("chat gpt-4o-mini") as span:
        span.set_attribute("gen_ai.operation.name", "chat")
        ask()
elif mode == "worker":
    import multiprocessing
    worker = multiprocessing.get_context("fork").Process(target=ask)
    worker.start()
    worker.join()
    sys.exit(worker.exitcode)
else:
    ask()
if mode == "wait":
    print("ready", flush=True)
    time.sleep(30)
if mode == "exit7":
    sys.exit(7)
"""


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with simulator(CALM) as port:
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture
def sink() -> Iterator[OtlpSink]:
    with otlp_sink() as receiver:
        yield receiver


def variables(sink: OtlpSink, base_url: str, command: list[str], **more: str) -> dict[str, str]:
    """The environment `stackctl run` gives a command, with the receiver in the stack's place."""
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    telemetry = Telemetry("127.0.0.1:9", sink.url, service_name(command))
    return environment(base | {"TEST_BASE_URL": base_url} | more, telemetry, checked=True)


def run(sink: OtlpSink, base_url: str, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    env = variables(sink, base_url, command, **more)
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "shop.py"
    path.write_text(APP)
    return path


def test_a_program_is_seen_without_its_prompts_and_keeps_its_exit_code(sink, base_url, app):
    """One call is one span of a service named after the script, no content leaves, the exit code is the program's."""
    done = run(sink, base_url, [sys.executable, str(app), "exit7"])
    assert (done.returncode, done.stderr) == (7, "")
    (span,) = sink.inference()
    assert span.attributes["gen_ai.usage.input_tokens"] > 0
    assert span.resource["service.name"] == "shop"
    assert not any(CANARY.encode() in body for body in sink.bodies)


def test_a_second_instrumentation_of_the_client_stays_off(sink, base_url, app, tmp_path):
    """Two packages under the entry point `openai` give one span a call: the second is never loaded."""
    info = tmp_path / "second" / "opentelemetry_instrumentation_openai_v2-2.4b0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: opentelemetry-instrumentation-openai-v2\nVersion: 2.4b0\n"
    )
    (info / "entry_points.txt").write_text("[opentelemetry_instrumentor]\nopenai = second_instrumentor:Instrumentor\n")
    (tmp_path / "second" / "second_instrumentor.py").write_text("raise SystemExit('loaded')")
    done = run(sink, base_url, [sys.executable, str(app), "plain"], PYTHONPATH=str(tmp_path / "second"))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(sink.inference()) == 1


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "false"),
        ({"ANTHROPIC_OPEN_TELEMETRY": "true"}, "true"),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "redis, anthropic"}, "None"),
        ({"PYTHONPATH": ""}, "None"),
    ],
    ids=["instrumented", "chosen", "disabled", "alone"],
)
def test_a_client_that_traces_by_itself_is_kept_from_it_beside_an_instrumentation(sink, base_url, tmp_path, more, told):
    """Anthropic's client and an instrumentation of it would give each call two spans side by side."""
    info = tmp_path / "opentelemetry_instrumentation_anthropic-0.62.4.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: opentelemetry-instrumentation-anthropic\nVersion: 0.62.4\n"
    )
    (info / "entry_points.txt").write_text("[opentelemetry_instrumentor]\nanthropic = of_anthropic:Instrumentor\n")
    (tmp_path / "of_anthropic.py").write_text("class Instrumentor:\n    def instrument(self, **_):\n        pass\n")
    asking = "import os; print(os.environ.get('ANTHROPIC_OPEN_TELEMETRY'))"
    done = run(sink, base_url, [sys.executable, "-c", asking], **{"PYTHONPATH": str(tmp_path), **more})
    assert (done.stdout, done.stderr, done.returncode) == (f"{told}\n", "", 0)


def test_an_inference_span_inside_another_is_marked(sink, base_url, app):
    """A framework's own span around the client's counts once: the inner one carries the mark, the outer does not."""
    assert run(sink, base_url, [sys.executable, str(app), "nested"]).returncode == 0
    outer, inner = sorted(sink.inference(), key=lambda span: span.scope != "a-framework")
    assert inner.parent_id == outer.span_id
    assert inner.attributes["stackctl.nested_inference"] is True
    assert "stackctl.nested_inference" not in outer.attributes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_program_as_ever_and_loses_nothing(sink, base_url, app, number):
    """A program killed by SIGTERM or Ctrl-C dies of that signal, after its spans were sent."""
    command = [sys.executable, str(app), "wait"]
    env = variables(sink, base_url, command)
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(20) == -number
    assert len(sink.inference()) == 1


def test_a_forked_worker_loses_nothing(sink, base_url, app):
    """A multiprocessing worker leaves without atexit, and its span arrives all the same."""
    done = run(sink, base_url, [sys.executable, str(app), "worker"])
    assert done.returncode == 0, done.stderr
    assert len(sink.inference()) == 1


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another environment: it has the packages of this one, but not stackctl."""
    home = tmp_path_factory.mktemp("other") / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    theirs = next((home / "lib").glob("python*/site-packages"))
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "stackctl" not in entry.name and entry.suffix != ".pth" and not (theirs / entry.name).exists():
            (theirs / entry.name).symlink_to(entry)
    return home / "bin" / "python"


def test_a_console_script_of_another_environment_is_seen(sink, base_url, app, other_python):
    """A script's first line names its interpreter; the program is instrumented although stackctl is not there."""
    script = other_python.with_name("shop-cli")
    script.write_text(
        f"#!{other_python}\nfrom importlib.util import find_spec\nassert find_spec('stackctl') is None\n{APP}"
    )
    script.chmod(0o755)
    words = interpreter_of([str(script)], os.environ)
    assert words == [str(other_python)]
    assert Path(check(words, os.environ).executable).samefile(other_python)
    assert run(sink, base_url, [str(script), "plain"]).returncode == 0
    (span,) = sink.inference()
    assert span.resource["service.name"] == "shop-cli"


def test_the_sitecustomize_that_is_hidden_still_runs(sink, base_url, app, tmp_path):
    """An environment's own sitecustomize is run after ours, not lost."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "sitecustomize.py").write_text("print('their own start')")
    done = run(sink, base_url, [sys.executable, str(app), "plain"], PYTHONPATH=str(tmp_path / "theirs"))
    assert done.stdout == "their own start\n"
    assert len(sink.inference()) == 1


def test_a_wrapper_that_starts_python_is_seen_too(sink, base_url, app):
    """A shell command whose interpreter cannot be told beforehand is instrumented all the same."""
    assert run(sink, base_url, ["sh", "-c", f"'{sys.executable}' '{app}' plain"]).returncode == 0
    assert len(sink.inference()) == 1


def test_an_unchecked_program_without_the_packages_runs_and_says_so(tmp_path):
    """Where packages are missing and nobody could know before, the program runs, and one line on stderr tells."""
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    python = str(tmp_path / "bare" / "bin" / "python")
    env = environment({"PATH": os.environ["PATH"]}, Telemetry("g", "h", "shop"), checked=False)
    done = subprocess.run([python, "-c", "print(1)"], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert done.stderr.startswith("stackctl run: not instrumented")
    assert f"{python} -m pip install" in done.stderr
