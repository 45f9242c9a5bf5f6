"""The built wheel, installed where there is no checkout: what a user gets, not what lies on a developer's disk."""

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]

Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a program of a fresh environment that holds our wheel; its dependencies are the test environment's own."""
    home = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", home, CHECKOUT], check=True, capture_output=True)
    (wheel,) = home.glob("stackctl-*.whl")
    venv.create(home / "venv", with_pip=False, symlinks=True)
    bin_dir = home / "venv" / "bin"
    site_packages = home / "venv" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    target = ["--quiet", "--no-deps", "--no-index", "--prefix", home / "venv"]
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", bin_dir / "python", "install", *target, wheel],
        check=True,
        capture_output=True,
    )
    # A .pth line adds the directory to the path but does not read the .pth files in it, so the checkout stays unseen.
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [bin_dir / program, *arguments], cwd=home, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def test_the_wheel_is_what_runs(installed):
    """The package under test is the installed one, not the checkout."""
    where = installed("python", "-c", "import stackctl; print(stackctl.__file__)").stdout
    assert "site-packages" in where
    assert str(CHECKOUT) not in where


def test_the_command_and_the_module_answer(installed):
    """`stackctl` and `python -m stackctl` are the same command."""
    listed = installed("stackctl", "--help")
    assert listed.returncode == 0, listed.stderr
    assert "up" in listed.stdout
    assert installed("python", "-m", "stackctl", "--version").stdout.startswith("stackctl ")


@pytest.mark.parametrize("folder", ["compose", "dashboards", "provisioning"])
def test_the_shipped_folders_are_found(installed, folder):
    """What a platform engineer owns is in the wheel, whole, and found outside a checkout."""
    program = (
        "from stackctl.files import shipped; "
        f"root = shipped({folder!r}); "
        "print(*sorted(p.relative_to(root) for p in root.rglob('*') if p.is_file() and '__pycache__' not in p.parts))"
    )
    found = installed("python", "-c", program)
    assert found.returncode == 0, found.stderr
    source = CHECKOUT / folder
    wanted = [p.relative_to(source) for p in source.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert found.stdout.split() == [str(path) for path in sorted(wanted)]
