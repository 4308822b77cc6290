"""The checks of a head that llhttp has let pass. What they mean for a connection is in test_protocol.py."""

from __future__ import annotations

import pytest

from gateway.core.errors import ClientError
from gateway.server.request_head import check_head, check_upgrade, expects_continue, without_offer
from tests.heads import request_of

HOST = (b"host", b"a")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("target", [b"/", b"/a/b?c=d", b"/%23"])
def test_a_path_is_a_target(version, target):
    check_head(request_of([HOST], method="POST", version=version, target=target))


@pytest.mark.parametrize(
    ("method", "version", "target"),
    [
        (b"GET", "0.9", b"/"),
        (b"GET", "2.0", b"/"),
        (b"CONNECT", "1.1", b"/"),
        (b"GET", "1.1", b"http://b/"),
        (b"OPTIONS", "1.1", b"*"),
        (b"GET", "1.1", b"/#a"),
        (b"GET", "1.1", b""),
    ],
)
def test_anything_else_is_not(method, version, target):
    with pytest.raises(ClientError) as caught:
        check_head(request_of([HOST], method=method.decode(), version=version, target=target))
    assert (caught.value.status, caught.value.code) == (400, "malformed_http")


@pytest.mark.parametrize(
    ("watched", "expects"),
    [
        ([HOST], False),
        ([HOST, (b"content-length", b"5")], False),
        ([(b"transfer-encoding", b"chunked"), HOST], False),
        ([HOST, (b"expect", b"100-Continue")], True),
        ([HOST, (b"expect", b"something")], False),
    ],
)
def test_one_host_and_one_length_pass(watched, expects):
    request = request_of(watched)
    check_head(request)
    assert expects_continue(request) is expects


def test_blanks_behind_a_value_are_none_of_it():
    request = request_of([(b"host", b"a "), (b"x-stainless-retry-count", b"1 \t"), (b"x", b" "), (b"x", b"a b\t")])
    check_head(request)
    assert request.headers == [(b"host", b"a"), (b"x-stainless-retry-count", b"1"), (b"x", b""), (b"x", b"a b")]


@pytest.mark.parametrize("blank", [b" ", b"\t"])
def test_a_transfer_encoding_is_judged_by_all_that_the_parser_read(blank):
    with pytest.raises(ClientError):
        check_head(request_of([HOST, (b"transfer-encoding", b"chunked" + blank)]))


@pytest.mark.parametrize(
    ("version", "watched"),
    [
        ("1.1", []),
        ("1.0", []),
        ("1.1", [HOST, HOST]),
        ("1.1", [(b"host", b"a/b")]),
        ("1.1", [(b"host", b"")]),
        ("1.1", [HOST, (b"content-length", b"5"), (b"content-length", b"5")]),
        ("1.1", [HOST, (b"content-length", b"5"), (b"transfer-encoding", b"chunked")]),
        ("1.1", [HOST, (b"transfer-encoding", b"gzip, chunked")]),
        ("1.1", [HOST, (b"transfer-encoding", b"Chunked")]),
        ("1.0", [HOST, (b"transfer-encoding", b"chunked")]),
    ],
)
def test_what_two_readers_may_read_differently_is_refused(version, watched):
    with pytest.raises(ClientError) as caught:
        check_head(request_of(watched, version=version))
    assert caught.value.code == "malformed_http"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("watched", [[], [(b"host", b"")]])
def test_a_host_that_is_missing_will_do_where_the_path_says_so(version, watched):
    check_head(request_of(watched, version=version), lambda path: True)
    with pytest.raises(ClientError):
        check_head(request_of(watched, version=version), lambda path: False)


@pytest.mark.parametrize("watched", [[HOST, HOST], [(b"host", b""), HOST], [(b"host", b"a/b")]])
def test_a_host_that_is_wrong_will_do_nowhere(watched):
    with pytest.raises(ClientError):
        check_head(request_of(watched), lambda path: True)


def test_http_1_0_has_no_interim_answers():
    assert not expects_continue(request_of([HOST, (b"expect", b"100-continue")], version="1.0"))


def test_http2_may_be_offered_and_websockets_may_not():
    check_upgrade(request_of([HOST, (b"upgrade", b"H2C")]))
    with pytest.raises(ClientError):
        check_upgrade(request_of([(b"upgrade", b"h2c"), (b"upgrade", b"websocket")]))


def test_a_head_without_its_offer_is_the_same_otherwise():
    headers = [HOST, (b"connection", b"Upgrade, HTTP2-Settings"), (b"upgrade", b"h2c"), (b"http2-settings", b"x")]
    assert without_offer(request_of([*headers, (b"x", b"y")], target=b"/a?b")) == (
        b"GET /a?b HTTP/1.1\r\nhost: a\r\nx: y\r\n\r\n"
    )
    assert b"connection: close\r\n" in without_offer(request_of([HOST, (b"connection", b"upgrade, Close")]))
