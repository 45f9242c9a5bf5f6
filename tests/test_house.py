"""Facts that stand once: the README, the command table and the code agree about them."""

import ast
import re
from pathlib import Path

import pytest
import typer

from stackctl import semconv, stack
from stackctl.cli.app import root
from tests import absent

CHECKOUT = Path(__file__).resolve().parent.parent
README = (CHECKOUT / "README.md").read_text()
MODULES = sorted((CHECKOUT / "stackctl").rglob("*.py"))
MOST_LINES = 400
# A grammar read top to bottom is longer than anything else may be.
LONGER = {"stackctl/promql/parse.py": 600}


def _commands(group: typer.Typer) -> set[str]:
    """Return the names on the command line, groups flattened to `group sub`."""
    names = {row.name or row.callback.__name__ for row in group.registered_commands if row.callback}
    for sub in group.registered_groups:
        assert sub.typer_instance is not None
        names |= {f"{sub.name} {name}" for name in _commands(sub.typer_instance)}
    return {name.replace("_", "-") for name in names}


def test_readme_names_every_endpoint_with_its_port() -> None:
    """The README's table of endpoints is the table in `stack.py`."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (127\.0\.0\.1:\d+) \|", README, re.M))
    served = {e.name: f"127.0.0.1:{e.port}" for e in stack.ENDPOINTS}
    assert rows == served


def test_readme_names_every_command() -> None:
    """Every command of the command line stands in the README's table, and none that does not exist."""
    rows = re.findall(r"^\| (`stackctl .*?) \|", README.split("## Commands")[1].split("## How")[0], re.M)
    told: set[str] = set()
    for row in rows:
        group = ""
        for cell in re.findall(r"`([^`]+)`", row):
            words = [w for w in cell.removeprefix("stackctl ").split() if re.fullmatch(r"[a-z]+", w)]
            if cell.startswith("stackctl "):
                group = words[0] if len(words) > 1 else ""
                told.add(" ".join(words))
            else:
                told.add(f"{group} {words[0]}".strip())
    assert told == _commands(root)


def test_every_image_is_pinned_by_tag_and_digest() -> None:
    """No component floats: a tag that is not `latest`, and a digest."""
    for component in stack.COMPONENTS:
        assert re.fullmatch(r"v?\d+\.\d+\.\d+", component.tag), component
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", component.digest), component


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_names_and_ports_stand_once(module: Path) -> None:
    """No module but their home spells a metric name or a default port."""
    if module.name in ("semconv.py", "stack.py"):
        return
    metrics = {value for name, value in vars(semconv).items() if name.startswith(("LLM_", "RAG_"))}
    ports = {endpoint.port for endpoint in stack.ENDPOINTS}
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Constant):
            assert node.value not in metrics, f"{module}:{node.lineno} spells {node.value!r}"
            assert not (type(node.value) is int and node.value in ports), f"{module}:{node.lineno} spells a port"


def test_functions_and_modules_stay_small() -> None:
    """95 of 100 functions have at most 40 lines, and no module more than 400, tests included; a parser may have 600."""
    every = (path for top in ("dashboards", "stackctl", "tests") for path in (CHECKOUT / top).rglob("*.py"))
    lines = {str(path.relative_to(CHECKOUT)): len(path.read_text().splitlines()) for path in every}
    assert {name for name, count in lines.items() if count > LONGER.get(name, MOST_LINES)} == set()
    assert all(lines[name] > MOST_LINES for name in LONGER)
    lengths = []
    for module in MODULES:
        text = module.read_text()
        lengths += [
            node.end_lineno - node.lineno + 1
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
        ]
    assert sorted(lengths)[int(len(lengths) * 0.95)] <= 40


def test_readme_names_every_image_with_its_tag() -> None:
    """The README's table of components is the table in `stack.py`."""
    rows = dict(re.findall(r"^\| `(\w+)` \| `([\w/.-]+:[\w.]+)` \|", README, re.M))
    assert rows == {one.name: f"{one.image}:{one.tag}" for one in stack.COMPONENTS}


def test_every_skip_is_declared() -> None:
    """Only `tests/absent.py` skips, and no row of it is left that nothing asks for."""
    files = {path: path.read_text() for path in (CHECKOUT / "tests").rglob("*.py") if path != Path(absent.__file__)}
    undeclared = r"pytest\.(skip|xfail|importorskip)\(|mark\.(skip|skipif|xfail)\b"
    assert not [path for path, text in files.items() if path != Path(__file__) and re.search(undeclared, text)]
    told = {*absent.MARKED, *("docker compose", "docker-compose")}  # the latter two by the words of their command
    told |= {found for text in files.values() for found in re.findall(r'absent\.skip\("([^"]+)"\)', text)}
    assert told == set(absent.ABSENT)
