"""Ports: free ones are free and distinct, a taken one names its holder."""

import os
import socket
import sys
from contextlib import ExitStack

import pytest

from stackctl.errors import PortTaken, SettingsInvalid
from stackctl.runtime import ports
from stackctl.runtime.embedded_up import SERVED
from stackctl.stack import ENDPOINT_BY_NAME
from tests import absent


def test_reserved_ports_are_distinct_and_free():
    """`--ports auto` never gives two endpoints one port, nor one that is in use; servers can listen there."""
    with ExitStack() as held:
        chosen = ports.reserve(SERVED, "127.0.0.1", held)
        assert set(chosen) == set(SERVED)
        assert len(set(chosen.values())) == len(SERVED)
        ports.check(chosen, "127.0.0.1")
        for port in chosen.values():
            with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
                pass


def test_a_reserved_port_is_held_until_it_is_let_go():
    """Whoever wants a port to connect from does not get it meanwhile: one was lost so, a second before it was used."""
    if sys.platform != "linux":
        absent.skip("ports held")
    with ExitStack() as held:
        port = ports.reserve(("tempo",), "127.0.0.1", held)["tempo"]
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))


def test_chosen_ports_stand_beside_the_default_ones():
    """Setting one port leaves the others where they are."""
    assert ports.default(SERVED, {"tempo": 13200}) == {
        name: 13200 if name == "tempo" else ENDPOINT_BY_NAME[name].port for name in SERVED
    }


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_names_endpoint_and_holder(address):
    """Whoever holds the port is named, also when it listens on every address."""
    with socket.socket() as listener:
        listener.bind((address, 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port} \(tempo\) is taken by .* \(pid {os.getpid()}\)"):
            ports.check({"tempo": port}, "127.0.0.1")


def test_a_foreign_address_is_refused():
    """A host that this machine does not have is a wrong setting, not a taken port."""
    with pytest.raises(SettingsInvalid, match="no address of this machine"):
        ports.check({"tempo": 13200}, "192.0.2.1")
