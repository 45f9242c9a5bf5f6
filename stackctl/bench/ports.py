"""Ports for processes that are started to be measured."""

from contextlib import ExitStack

from stackctl.runtime import ports

_HELD = ExitStack()  # a port that was given out is nobody else's while this process lives
_NAME = "measured"


def free_port() -> int:
    """Return a TCP port on loopback that nothing listens on, and that the system gives to nobody meanwhile.

    Raises:
        EnvironmentLacks: there is none.
    """
    return ports.reserve((_NAME,), "127.0.0.1", _HELD)[_NAME]
