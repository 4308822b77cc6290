"""Whose address counts behind proxies: what trusted ones wrote, and nothing that a client made up."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.client_address import client_address

TRUSTED = tuple(ip_network(one) for one in ("127.0.0.1/32", "10.0.0.0/8", "fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.7", [b"198.51.100.1"], "203.0.113.7"),  # asked directly: the header is the client's own word
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", [b"203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", [b"198.51.100.1, 203.0.113.7"], "203.0.113.7"),  # the first entry was sent by 203.0.113.7
        ("127.0.0.1", [b"198.51.100.1", b"203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", [b"198.51.100.1, 203.0.113.7, 10.1.2.3"], "203.0.113.7"),  # two proxies of ours
        ("127.0.0.1", [b"10.1.2.3"], "10.1.2.3"),  # a client inside
        ("127.0.0.1", [b"203.0.113.7:5512"], "203.0.113.7"),
        ("127.0.0.1", [b"[2001:db8::1]:443"], "2001:db8::1"),
        ("127.0.0.1", [b"2001:db8::1"], "2001:db8::1"),
        ("127.0.0.1", [b'"[2001:db8::1]"'], "2001:db8::1"),
        ("::ffff:127.0.0.1", [b"203.0.113.7"], "203.0.113.7"),  # a listener for both families
        ("127.0.0.1", [b"::ffff:203.0.113.7"], "203.0.113.7"),
        ("fd00::9", [b"203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", [b"unknown"], "127.0.0.1"),
        ("127.0.0.1", [b"203.0.113.7, _hidden"], "127.0.0.1"),
        ("127.0.0.1", [b"", b" , "], "127.0.0.1"),
        ("", [b"203.0.113.7"], ""),
    ],
)
def test_the_last_address_that_no_trusted_proxy_has(peer: str, forwarded: list[bytes], client: str) -> None:
    assert client_address(peer, forwarded, TRUSTED) == client


def test_nobody_is_believed_where_none_is_trusted() -> None:
    assert client_address("127.0.0.1", [b"203.0.113.7"], ()) == "127.0.0.1"


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_what_a_client_writes_before_a_proxys_entry_changes_nothing(made_up: list[bytes]) -> None:
    assert client_address("127.0.0.1", [*made_up, b"203.0.113.7"], TRUSTED) == "203.0.113.7"


@given(st.lists(st.binary(max_size=60), max_size=4), st.text(max_size=20))
def test_no_header_makes_it_fail(forwarded: list[bytes], peer: str) -> None:
    assert isinstance(client_address(peer, forwarded, TRUSTED), str)
