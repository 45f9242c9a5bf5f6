"""Which TCP ports the endpoints get, and who is in the way of one."""

import errno
import socket
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack

from stackctl.errors import EnvironmentLacks, PortTaken, SettingsInvalid
from stackctl.stack import ENDPOINT_BY_NAME


def reserve(names: Iterable[str], host: str, held: ExitStack) -> dict[str, int]:
    """Return a free port for each endpoint, chosen by the system, no two alike.

    Between this and the moment when a server listens there a second may pass, in which the system would give the port
    to whoever connects to somewhere. So it stays bound here until `held` is closed. On Linux a server can listen on a
    port that is bound so, if both say SO_REUSEADDR (socket(7)), as servers do, and the system gives it to nobody.
    Elsewhere the second bind would be refused, so nothing is held there.

    Raises:
        EnvironmentLacks, SettingsInvalid: as `check`.
    """
    found = {}
    with ExitStack() as bound:
        for name in names:
            try:
                found[name] = bound.enter_context(_bound(host, 0)).getsockname()[1]
            except (OSError, UnicodeError) as error:
                raise _refusal(error, name, host, 0) from error
        if sys.platform == "linux":
            held.push(bound.pop_all())
    return found


def default(names: Iterable[str], chosen: Mapping[str, int]) -> dict[str, int]:
    """Return the chosen port of each endpoint, or its default one.

    Raises:
        SettingsInvalid: a port was chosen for an endpoint that is not served, or one port twice.
    """
    ports = {name: ENDPOINT_BY_NAME[name].port for name in names} | dict(chosen)
    unserved = ports.keys() - set(names)
    if unserved:
        raise SettingsInvalid(
            f"ports: this runtime does not serve {', '.join(sorted(unserved))}", next_step="leave it out of ports"
        )
    if len(set(ports.values())) < len(ports):
        raise SettingsInvalid(
            "ports: two endpoints would get one port", next_step="give each endpoint a port of its own"
        )
    return ports


def check(ports: Mapping[str, int], host: str) -> None:
    """Make sure that each port can be listened on.

    Raises:
        PortTaken: one cannot; the message names it, its endpoint and, where that can be seen, its holder.
        SettingsInvalid: the host is no address of this machine.
    """
    for name, port in ports.items():
        try:
            _bound(host, port).close()
        except (OSError, UnicodeError) as error:
            raise _refusal(error, name, host, port) from error


def _bound(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: connections that linger do not count
        listener.bind((host, port))
    except (OSError, UnicodeError):  # the latter: parts of a name of more than 63 letters, or none
        listener.close()
        raise
    return listener


def _refusal(error: OSError | UnicodeError, name: str, host: str, port: int) -> Exception:
    if isinstance(error, UnicodeError | socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return SettingsInvalid(f"host: {host} is no address of this machine", next_step="use 127.0.0.1 or one that is")
    if error.errno == errno.EADDRINUSE:
        return PortTaken(
            f"port {port} ({name}) is taken by {holder(port)}",
            next_step="stop that program, or take free ports: stackctl up --ports auto",
        )
    return EnvironmentLacks(
        f"port {port} ({name}) cannot be listened on: {error.strerror}",
        next_step="take other ports: stackctl up --ports auto",
    )


def holder(port: int) -> str:
    """Return who listens on a port, as `name (pid N)`; other users' programs cannot be seen without privileges."""
    import psutil

    for connection in psutil.net_connections(kind="tcp"):
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,)
        if listens and connection.pid:
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.Error:  # it ended, or is not ours to look at
                break
    return "another program"
