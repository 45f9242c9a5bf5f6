"""What the engine's processes tell the libraries in C before they load them."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("told", ["keep_memory", "share_arenas"])
def test_numpy_starts_no_thread(told: str) -> None:
    """OpenBLAS would make one for each further core, which takes processor time just when a stack starts."""
    code = (
        f"from stackctl.embedded.allocator import {told}; {told}()\n"
        "import numpy, psutil\n"
        "print(psutil.Process().num_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "1\n"
