"""Memory of a process and its copies: all of them, and what they share once."""

import subprocess
import sys

from stackctl.resident import resident_bytes
from tests import absent

MIB = 1024**2
# Takes 64 MiB, and makes two copies of which each takes 16 more; all wait until they are told to end.
PROGRAM = """
import os, sys
shared = os.urandom(64 * 1024**2)
ready, told = os.pipe()
for _ in range(2):
    if not os.fork():
        own = os.urandom(16 * 1024**2)
        os.write(told, b"!")
        sys.stdin.read()
        os._exit(0)
for _ in range(2):
    os.read(ready, 1)
print("ready", flush=True)
sys.stdin.read()
"""


def test_shared_pages_count_once() -> None:
    """A process of 64 MiB with two copies that took 16 more each takes 96 MiB, and not 224."""
    if sys.platform != "linux":
        absent.skip("copies of processes")
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        taken = resident_bytes(program.pid)
        assert taken is not None
        assert 96 * MIB < taken < 140 * MIB
        program.communicate()
    assert resident_bytes(program.pid) is None


def test_what_a_process_that_is_not_there_takes_is_unknown() -> None:
    """Unknown is not zero."""
    assert resident_bytes(0x7FFFFFFF) is None
