"""From definitions to the JSON that Grafana is provisioned with: render it, check what is committed."""

import json
import runpy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stackctl import files
from stackctl.boards import policy
from stackctl.boards.house import DEFINITION_SUFFIX
from stackctl.errors import NotFound, SettingsInvalid

_PACKAGE: Final = Path(__file__).resolve().parent.parent
_RENDERED: Final = ("grafana", "dashboards")  # below `provisioning/`


@dataclass(frozen=True)
class Rendered:
    """One board, rendered.

    Attributes:
        uid: its identity and the stem of its file.
        json: the finished JSON.
    """

    uid: str
    json: dict[str, Any]

    @property
    def file_name(self) -> str:
        """The name of its JSON file."""
        return f"{self.uid}.json"

    @property
    def text(self) -> str:
        """The file's text, the same bytes as grafanalib's `generate-dashboard` writes."""
        return json.dumps(self.json, sort_keys=True, indent=2) + "\n"


def boards(definitions: Path | None = None, *, portable: bool = False) -> list[Rendered]:
    """Return the shipped boards, and those of a directory of the user's, in order of their uids.

    Args:
        definitions: a directory with `*.dashboard.py` files of one's own.
        portable: plain `increase` instead of `anchored`, for a Prometheus without that feature.

    Raises:
        NotFound: the directory holds no definition.
        SettingsInvalid: a definition does not load, or two have one uid or title.
    """
    paths = sorted(files.shipped("dashboards").glob(f"*{DEFINITION_SUFFIX}"))
    if definitions is not None:
        own = sorted(definitions.glob(f"*{DEFINITION_SUFFIX}"))
        if not own:
            raise NotFound(
                f"{definitions} holds no *{DEFINITION_SUFFIX}", next_step=f"name your file <uid>{DEFINITION_SUFFIX}"
            )
        paths += own
    found = sorted((_rendered(path, portable) for path in paths), key=lambda one: one.uid)
    _refuse_doubles(found)
    return found


def load(path: Path) -> Any:
    """Return the variable `dashboard` of a definition.

    Raises:
        SettingsInvalid: the file fails to run, or does not define it.
    """
    try:
        board = runpy.run_path(str(path)).get("dashboard")
    except Exception as error:  # a definition is the user's program: whatever it raises is said, with its place
        raise SettingsInvalid(
            f"{path} does not load: {type(error).__name__}: {error}", next_step=f"run it alone: python {path}"
        ) from error
    if not hasattr(board, "to_json_data"):
        raise SettingsInvalid(
            f"{path} does not define a variable `dashboard`", next_step="write: dashboard = house.Board(__file__, ...)"
        )
    return board


def write(rendered: Sequence[Rendered], out: Path) -> list[str]:
    """Write the boards' files into a directory, and remove the JSON of boards that are no more.

    Returns:
        The names of the files that are new, changed or gone.
    """
    out.mkdir(parents=True, exist_ok=True)
    changed = differing(rendered, out)
    for one in rendered:
        if one.file_name in changed:
            (out / one.file_name).write_text(one.text, encoding="utf-8")
    for path in _stale(rendered, out):
        path.unlink()
    return changed


def differing(rendered: Sequence[Rendered], out: Path) -> list[str]:
    """Return the file names that `write` would change in a directory: new, changed and gone."""
    changed = [one.file_name for one in rendered if _differs(one.text, out / one.file_name)]
    return sorted([*changed, *(path.name for path in _stale(rendered, out))])


def committed() -> Path:
    """Return the directory of the rendered boards that Grafana is provisioned with."""
    return files.shipped("provisioning").joinpath(*_RENDERED)


def default_directory() -> Path:
    """Return where boards are written when nobody says: a checkout's folder; an installation is left alone."""
    directory = committed()
    return Path("boards") if directory.is_relative_to(_PACKAGE) else directory


def _rendered(path: Path, portable: bool) -> Rendered:
    board = load(path).to_json_data()
    if not board.get("uid"):
        raise SettingsInvalid(
            f"{path} renders without a uid", next_step="use house.Board, which takes it from the file"
        )
    return Rendered(board["uid"], policy.portable(board) if portable else board)


def _refuse_doubles(rendered: Sequence[Rendered]) -> None:
    # Grafana stops updating provisioned boards when two share a uid, or a title in one folder.
    for what in ("uid", "title"):
        values = [one.json[what] for one in rendered]
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise SettingsInvalid(f"two boards have the {what} {twice[0]!r}", next_step="rename one of them")


def _differs(text: str, path: Path) -> bool:
    return not path.is_file() or path.read_text(encoding="utf-8") != text


def _stale(rendered: Sequence[Rendered], out: Path) -> list[Path]:
    """Return boards of ours in a directory that no definition gives any more; other people's files are left alone."""
    known = {one.file_name for one in rendered}
    return [path for path in sorted(out.glob("*.json")) if path.name not in known and _is_ours(path)]


def _is_ours(path: Path) -> bool:
    try:
        board = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(board, dict) and policy.TAG in board.get("tags", ())
