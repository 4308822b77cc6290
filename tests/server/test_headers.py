"""Request ids, header values, and what every error carries."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import GatewayError, invalid_request, rate_limit_exceeded
from gateway.server.headers import asked_host, error_headers, header, request_id


@pytest.mark.parametrize("sent", [b"a", b"req_1.2-3_X", b"a" * 128])
def test_a_sane_request_id_is_kept(sent):
    assert request_id(sent) == sent.decode()


@pytest.mark.parametrize("sent", [None, b"", b"a" * 129, b"a b", b"a\n", b"a\r\nx: y", b"\xff", b"a;b"])
def test_any_other_is_replaced_by_a_fresh_one(sent):
    fresh = {request_id(sent) for _ in range(100)}
    assert len(fresh) == 100
    assert all(re.fullmatch("req_[0-9a-f]{24}", identifier) for identifier in fresh)


@given(st.text())
def test_no_value_can_end_its_line(value):
    name, encoded = header("X-Model", value)
    assert name == b"x-model"
    assert re.fullmatch(rb"[\x20-\x7e]*", encoded)
    assert len(encoded) == len(value)


@pytest.mark.parametrize(
    ("seconds", "whole", "thousandths"),
    [(2.0, b"2", b"2000"), (0.2, b"1", b"200"), (1.5001, b"2", b"1501"), (0.0, b"1", b"1"), (61.0, b"61", b"61000")],
)
def test_an_error_that_may_be_tried_again_says_when(seconds, whole, thousandths):
    headers = dict(error_headers(rate_limit_exceeded("too many", seconds)))
    assert headers[b"x-should-retry"] == b"true"
    assert headers[b"retry-after"] == whole
    assert headers[b"retry-after-ms"] == thousandths


def test_one_that_may_be_tried_again_at_once_says_so():
    error = GatewayError(504, "timeout_error", "still_running", "no", retry_after=0.0)
    error.at_once = True
    headers = dict(error_headers(error))
    assert headers == {b"x-should-retry": b"true", b"retry-after": b"0", b"retry-after-ms": b"1"}


def test_a_time_alone_does_not_invite_to_try_again():
    error = GatewayError(503, "service_unavailable_error", "used_up", "no", retry_after=30.0, again=False)
    headers = dict(error_headers(error))
    assert (headers[b"x-should-retry"], headers[b"retry-after"]) == (b"false", b"30")
    unknown = GatewayError(503, "service_unavailable_error", "used_up", "no", again=True)
    assert not unknown.should_retry  # nobody may be told to come again without being told when


def test_any_other_error_says_that_it_may_not():
    headers = dict(error_headers(invalid_request("no")))
    assert headers == {b"x-should-retry": b"false"}


@pytest.mark.parametrize(
    ("sent", "host"),
    [
        (b"localhost:8400", "localhost:8400"),
        (b"gateway.example.com", "gateway.example.com"),
        (b"host.docker.internal:8400", "host.docker.internal:8400"),
        (b"my_gateway", "my_gateway"),
        (b"10.0.0.5:80", "10.0.0.5:80"),
        (b"[::1]:8400", "[::1]:8400"),
        (b"[2001:db8::1]", "[2001:db8::1]"),
        (b"gateway:65535", "gateway:65535"),
        *((odd, None) for odd in (b"", b"gateway:65536", b"gateway:0", b"gateway:", b".", b"..", b".example")),
        *((odd, None) for odd in (b"a@b", b"a/b", b"a b", b"a)b", b"a\r\nb", b"::1", b"[::1%25eth0]", b"caf\xc3\xa9")),
    ],
)
def test_the_host_a_client_asked_by_can_stand_in_a_link(sent: bytes, host: str | None) -> None:
    assert asked_host(sent) == host


def test_a_request_may_have_named_no_host() -> None:
    assert asked_host(None) is None
