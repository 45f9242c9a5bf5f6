"""Where the shipped folders are, in a wheel and in a checkout alike, and the pages of the web console."""

from pathlib import Path

from stackctl.errors import EnvironmentLacks, PackageMissing

_PACKAGE = Path(__file__).resolve().parent


def shipped(folder: str) -> Path:
    """Return the directory of one shipped folder.

    Args:
        folder: `compose`, `dashboards` or `provisioning`.

    Raises:
        EnvironmentLacks: the installation does not carry it.
    """
    for root in (_PACKAGE / "_shipped", _PACKAGE.parent):
        if (root / folder).is_dir():
            return root / folder
    raise EnvironmentLacks(
        f"this installation of stackctl does not carry the folder {folder!r}",
        next_step="reinstall it: pip install --force-reinstall stackctl",
    )


def console_pages() -> Path:
    """Return the directory of the console's pages, which the build hook makes and nobody commits.

    Raises:
        PackageMissing: the installation was built without them.
    """
    pages = _PACKAGE / "console" / "static"
    if not (pages / "index.html").is_file():
        raise PackageMissing(
            "this installation carries no web console: its pages were not built",
            next_step="install it again where npm's registry can be reached: pip install --force-reinstall stackctl",
        )
    return pages
