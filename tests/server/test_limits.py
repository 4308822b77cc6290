"""How many connections a process can afford."""

from __future__ import annotations

from gateway.server.limits import ServerLimits, client_connections


def test_clients_get_half_of_the_descriptors_that_are_not_reserved():
    assert client_connections(1024, reserved=64) == 480 - ServerLimits().refusals
    assert client_connections(64, reserved=64) == 1
    assert client_connections(1_000_000, reserved=64) == ServerLimits().connections
    assert client_connections(None, reserved=64) == ServerLimits().connections
