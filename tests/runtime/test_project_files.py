"""The compose files, without an engine: pinned, hardened, read strictly, and with the settings in them."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stackctl.files import shipped
from stackctl.runtime import project
from stackctl.settings import load
from stackctl.stack import COMPONENTS, ENDPOINTS
from tests.realstack import program

COMPOSE = shipped("compose") / "compose.yaml"
YAML_FILES = sorted(path for folder in ("compose", "provisioning") for path in shipped(folder).rglob("*.y*ml"))


class Strict(yaml.SafeLoader):
    """A reader that refuses a key that stands twice, where YAML's own takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"twice: {twice}", node.start_mark)
        self.flatten_mapping(node)
        return yaml.SafeLoader.construct_mapping(self, node, deep)


def services() -> dict[str, dict[str, Any]]:
    return yaml.load(COMPOSE.read_text(), Strict)["services"]


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_no_key_stands_twice(path: Path) -> None:
    """Every shipped YAML file means what it says to any reader."""
    assert yaml.load(path.read_text(), Strict)


def test_the_reader_is_strict() -> None:
    """The check above would find a second key."""
    with pytest.raises(yaml.constructor.ConstructorError):
        yaml.load("a: {b: 1, b: 2}", Strict)


def test_images_are_the_pins_of_the_one_table() -> None:
    """Each service defaults to tag and digest of `stack.py`, can be set, and nothing is built or floats."""
    found = services()
    for component in COMPONENTS:
        assert found[component.name]["image"] == f"${{STACKCTL_IMAGE_{component.name.upper()}:-{component.reference}}}"
    assert found.keys() == {component.name for component in COMPONENTS} | {"volume-owner"}
    text = COMPOSE.read_text()
    assert "build:" not in text
    assert "latest" not in text


def test_every_service_is_hardened() -> None:
    """Nobody is root but the one-shot that gives a volume away, and it has no network; all have bounds."""
    for name, row in services().items():
        assert row["read_only"] is True, name
        assert row["cap_drop"] == ["ALL"], name
        assert row["security_opt"] == ["no-new-privileges:true"], name
        assert row["pids_limit"] > 0, name
        assert row["mem_limit"], name
        assert row["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name
        if name == "volume-owner":
            assert (row["network_mode"], row["restart"], row["cap_add"]) == ("none", "no", ["CHOWN"])
            continue
        assert row["restart"] == "unless-stopped", name
        assert int(row["user"].partition(":")[0]) > 0, name
        assert "cap_add" not in row, name


def test_garbage_is_collected_before_the_collector_refuses() -> None:
    """Go's own limit lies below the share of the container's memory above which the memory_limiter refuses."""
    row = services()["otelcol"]
    limiter = yaml.safe_load((COMPOSE.parent / "otelcol" / "config.yaml").read_text())["processors"]["memory_limiter"]
    refuses = 1024 * (limiter["limit_percentage"] - limiter["spike_limit_percentage"]) / 100
    assert row["mem_limit"] == "1g"
    assert float(row["environment"]["GOMEMLIMIT"].removesuffix("MiB")) < 0.9 * refuses


def test_ports_are_those_of_the_one_table_and_on_loopback() -> None:
    """Each endpoint's default port is published at the component that serves it, on loopback only."""
    published = {text for row in services().values() for text in row.get("ports", ())}
    ports = {endpoint.name: endpoint.port for endpoint in ENDPOINTS}
    wanted = {f"127.0.0.1:${{STACKCTL_PORT_{name.upper()}:-{port}}}:{port}" for name, port in ports.items()}
    health = next(component.health[0] for component in COMPONENTS if component.name == "otelcol")
    assert published == wanted | {f"127.0.0.1::{health}"}


def test_mounted_files_are_there_and_have_a_label() -> None:
    """What is mounted from this machine is a relative path to a shipped file, read-only; a label holds its digest."""
    for name, row in services().items():
        mounts = [text.split(":") for text in row.get("volumes", ()) if text.startswith(".")]
        for source, target, mode in mounts:
            assert (COMPOSE.parent / source).exists(), source
            assert (mode, target[0]) == ("ro", "/")
            below = os.path.normpath(Path("compose", source))
            assert any(below.startswith(root) for root in project.MOUNTED[name]), source
        if mounts:
            assert row["labels"] == {"dev.stackctl.files": f"${{STACKCTL_FILES_{name.upper()}:-}}"}
    assert not re.search(r"(?m)^\s*- /(?!tmp)", COMPOSE.read_text()), "no absolute path of a machine"


def rendered(tmp_path: Path, **flags: str) -> project.Project:
    loaded = load({"data_dir": tmp_path, **flags}, {}, tmp_path)
    return project.render(loaded.settings, "stackctl-test", {}, with_grafana=False)


def test_a_setting_reaches_only_what_it_touches(tmp_path: Path) -> None:
    """Retention is Tempo's file and Prometheus' flag; content the Collector's and Tempo's files; an image itself."""
    base = rendered(tmp_path)
    labels = {key for key in base.environment if key.startswith("STACKCTL_FILES_")}

    def changed(**flags: str) -> set[str]:
        base.write()  # the password stays
        other = rendered(tmp_path, **flags).environment
        return {key for key in other if other[key] != base.environment[key]}

    assert labels == {f"STACKCTL_FILES_{component.name.upper()}" for component in COMPONENTS}
    assert changed() == set()
    assert changed(retention="2d") == {"STACKCTL_RETENTION", "STACKCTL_FILES_TEMPO"}
    assert changed(capture_content="yes") == {"STACKCTL_FILES_OTELCOL", "STACKCTL_FILES_TEMPO"}
    assert changed(**{"image.tempo": "mirror.example/tempo:1"}) == {"STACKCTL_IMAGE_TEMPO"}


def test_what_is_written_can_be_read_by_the_containers_and_the_password_by_nobody_else(tmp_path: Path) -> None:
    """Config files are for any user, whatever the umask; `.env`, which holds the password, is the owner's alone."""
    before = os.umask(0o077)
    try:
        found = rendered(tmp_path)
        found.write()
    finally:
        os.umask(before)
    assert found.env_file.stat().st_mode & 0o777 == 0o600
    for name in found.files:
        assert (found.directory / name).stat().st_mode & 0o777 == 0o644, name
    assert (found.directory / "provisioning" / "prometheus" / "rules").stat().st_mode & 0o777 == 0o755
    secret = found.environment["GRAFANA_ADMIN_PASSWORD"]
    assert len(secret) > 20
    assert not any(secret.encode() in content for content in found.files.values())
    assert rendered(tmp_path).environment["GRAFANA_ADMIN_PASSWORD"] == secret, "Grafana keeps the first one"


@pytest.mark.realstack
def test_compose_accepts_the_file(tmp_path: Path) -> None:
    """The real Compose holds the file against its schema, and asks for Grafana's password by name."""
    rendered(tmp_path).write()
    command = [program("docker-compose"), "-f", COMPOSE, "--profile", "grafana", "config", "--quiet"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    asked = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert asked.returncode != 0
    assert "GRAFANA_ADMIN_PASSWORD" in asked.stderr
    done = subprocess.run(
        command,
        env=environ | {"GRAFANA_ADMIN_PASSWORD": "x"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
