"""The steps of `up` that look at the machine before anything is started."""

import hashlib
import json
import re
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest

from stackctl.errors import EnvironmentLacks, Misuse, PackageMissing, StoreUnusable
from stackctl.runtime import embedded_up, engine, lock, up
from stackctl.runtime.begun import interrupt_deferred
from stackctl.settings import load


def start(tmp_path: Path, told: list[str], **flags: str) -> up.Start:
    loaded = load({"data_dir": tmp_path, **flags}, {}, tmp_path)
    return up.Start(loaded, False, told.append, lambda _: None)


@pytest.fixture
def docker_engine(tmp_path, monkeypatch):
    """Something that answers a Docker engine's ping on a Unix socket."""

    class Ping(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/_ping" else 404)
            self.end_headers()

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    path = tmp_path / "docker.sock"
    server = ThreadingUnixStreamServer(str(path), Ping)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    yield
    server.shutdown()
    server.server_close()


def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch, tmp_path):
    """Without the extra `embedded`, `up` says which packages and how to get them before it starts anything."""
    monkeypatch.setattr(embedded_up, "ENGINE_PACKAGES", ("ptars", "no_such_package", "nor.this"))
    with pytest.raises(PackageMissing, match=r"no_such_package, nor\.this") as missing:
        embedded_up.check_packages(start(tmp_path, []))
    assert "-m pip install 'stackctl[embedded]'" in missing.value.next_step


def test_every_package_of_the_extra_is_checked():
    """A package added to the extra `embedded` cannot be forgotten by the check."""
    modules = {name.split(".")[0] for name in embedded_up.ENGINE_PACKAGES}
    named = {re.split(r"[<>=!;\[ ]", line)[0] for line in requires("stackctl") or () if "extra == 'embedded'" in line}
    by_module = packages_distributions()
    covered = {distribution for module in modules for distribution in map(str.lower, by_module.get(module, ()))}
    assert named - covered == set()


def test_auto_takes_the_embedded_runtime_and_says_why(docker_engine, tmp_path):
    """Where an engine answers that cannot be used, `auto` tells in one line why it is not."""
    told: list[str] = []
    assert up.choose_docker(start(tmp_path, told)) is None
    assert len(told) == 1
    assert "the Docker engine refused" in told[0]
    assert told[0].endswith(": taking the embedded runtime")


def test_auto_without_an_engine_says_so(monkeypatch, tmp_path):
    """On a bare machine one line says what was looked for, and that the other runtime is taken."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    told: list[str] = []
    assert up.choose_docker(start(tmp_path, told)) is None
    assert told == [f"no Docker engine answers at unix://{tmp_path}/none.sock: taking the embedded runtime"]


def test_docker_that_cannot_be_used_is_refused(docker_engine, tmp_path):
    """Asked for by name, docker is not silently replaced."""
    with pytest.raises(EnvironmentLacks, match="the Docker engine refused"):
        up.choose_docker(start(tmp_path, [], runtime="docker"))


def test_a_socket_that_may_not_be_used_is_told_from_one_that_is_not_there(monkeypatch, tmp_path):
    """Without the right to the socket the remedy is the group `docker`, not another engine."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")

    def refuse(_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(engine._SocketConnection, "connect", refuse)
    lack = engine.trouble()
    assert lack is not None
    assert "may not use the Docker socket" in lack.message
    assert "usermod -aG docker" in lack.next_step


def test_an_engine_on_another_machine_is_refused(monkeypatch):
    """Files are mounted and ports published on the engine's machine, so it must be this one."""
    for address in ("ssh://somebody@host", "tcp://192.0.2.1:2375"):
        monkeypatch.setenv("DOCKER_HOST", address)
        lack = engine.trouble()
        assert lack is not None
        assert "not on this machine" in lack.message


def test_the_docker_context_in_use_is_followed(monkeypatch, tmp_path):
    """Rootless Docker, Colima and Docker Desktop are found by the context that the docker CLI uses."""
    name = "rootless"
    kept = tmp_path / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    kept.mkdir(parents=True)
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": name}))
    (kept / "meta.json").write_text(json.dumps({"Endpoints": {"docker": {"Host": "unix:///run/user/1/docker.sock"}}}))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert engine.address() == "unix:///run/user/1/docker.sock"
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert engine.address() == "unix:///var/run/docker.sock"


def test_the_embedded_runtime_refuses_to_sample(monkeypatch, tmp_path):
    """It stores every trace; a share that was asked for is not silently ignored."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    for runtime in ("embedded", "auto"):
        with pytest.raises(Misuse, match="does not sample"):
            up.choose_docker(start(tmp_path, [], runtime=runtime, sample="10"))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "tcp://127.0.0.1:nonsense", "ssh://nowhere", "nonsense"])
def test_an_engine_that_is_not_there_does_not_answer(monkeypatch, address):
    """Whatever DOCKER_HOST holds, the question whether an engine answers has an answer."""
    monkeypatch.setenv("DOCKER_HOST", address)
    assert engine.answers() is False


def test_one_command_at_a_time(tmp_path):
    """Who comes second waits, says so once, and goes on when the first is done."""
    told: list[str] = []
    order: list[str] = []

    def second() -> None:
        with lock.exclusive(tmp_path, told.append):
            order.append("second")

    with lock.exclusive(tmp_path, told.append):
        waiting = threading.Thread(target=second)
        waiting.start()
        deadline = time.monotonic() + 10
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]
    assert told == ["another stackctl command starts or stops this stack: waiting for it"]


def test_a_lock_that_is_never_released_ends_in_an_error(tmp_path, monkeypatch):
    """A hanging command does not make the next one hang for ever."""
    monkeypatch.setattr(lock, "_WAIT_SECONDS", 0.1)
    with (
        lock.exclusive(tmp_path, lambda _: None),
        pytest.raises(StoreUnusable, match="starting or stopping"),
        lock.exclusive(tmp_path, lambda _: None),
    ):
        pass


def test_a_ctrl_c_waits_until_what_was_started_is_known():
    """A Ctrl-C between the start of a process and the note of it must not lose the process; it is not lost itself."""
    noted: list[str] = []

    def start() -> None:
        with interrupt_deferred():
            signal.raise_signal(signal.SIGINT)
            noted.append("the process")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert noted == ["the process"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
