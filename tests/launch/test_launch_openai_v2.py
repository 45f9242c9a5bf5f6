"""The extra `stackctl[openai-v2]` in an environment of its own: a deprecated instrumentation that works held back."""

import os
import subprocess
import venv
from pathlib import Path

import pytest
from otlp_sink import otlp_sink

from stackctl.demo.conductor import simulator
from stackctl.demo.model import Behaviour
from stackctl.launch import Telemetry, check, environment
from tests import absent

ROOT = Path(__file__).resolve().parents[2]
APP = """
import openai, os
client = openai.OpenAI(base_url=os.environ["TEST_BASE_URL"], api_key="x")
client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello there"}])
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the extra, from the package index."""
    home = tmp_path_factory.mktemp("openai-v2") / "venv"
    venv.create(home, with_pip=True, symlinks=True)
    found = home / "bin" / "python"
    line = [found, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{ROOT}[openai-v2]"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode and "No matching distribution found for hatchling" in done.stderr:
        absent.skip("package index")
    assert done.returncode == 0, done.stderr
    return found


@pytest.mark.slow
def test_the_extra_sees_calls_under_its_pins(python: Path):
    """With openai 2 and util-genai below 1.2 a call is one span with tokens; pip finds versions that hold together."""
    packages = check([str(python)], os.environ).packages
    assert packages["openai"].startswith("2.")
    assert "opentelemetry-instrumentation-genai-openai" not in packages
    with otlp_sink() as sink, simulator(Behaviour(slowness=0.1, rate_limited=0, server_error=0)) as port:
        telemetry = Telemetry("127.0.0.1:9", sink.url, "old-shop")
        base = {"PATH": os.environ["PATH"], "TEST_BASE_URL": f"http://127.0.0.1:{port}/v1"}
        command = [python, "-c", APP]
        done = subprocess.run(
            command, env=environment(base, telemetry, checked=True), capture_output=True, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")
    (span,) = sink.inference()
    assert span.attributes["gen_ai.usage.input_tokens"] > 0


@pytest.mark.slow
def test_the_demo_says_what_it_lacks_there(python: Path):
    """The demo's instrumentation cannot live beside the extra: the demo is refused with the line that installs it."""
    code = "from stackctl.demo.conductor import require_packages; require_packages()"
    done = subprocess.run([python, "-c", code], cwd=python.parent, capture_output=True, text=True, check=False)
    assert "PackageMissing" in done.stderr
    assert "opentelemetry.instrumentation.genai.openai" in done.stderr
