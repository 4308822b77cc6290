"""Who a request's headers say that they are."""

from __future__ import annotations

import hashlib

import pytest

from gateway.core.types import VirtualKey
from gateway.endpoints.auth import ANONYMOUS, Authenticator
from gateway.errors import ClientError


def digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


ALICE = VirtualKey("alice", digest(b"sk-alice"))
BOB = VirtualKey("bob", digest(b"sk-bob"))
KEYS = {key.digest: key for key in (ALICE, BOB)}

GOOD = [
    ([(b"authorization", b"Bearer sk-alice")], ALICE),
    ([(b"authorization", b"bearer sk-alice")], ALICE),
    ([(b"authorization", b"BEARER   sk-alice ")], ALICE),
    ([(b"x-api-key", b"sk-bob")], BOB),
    ([(b"x-api-key", b"sk-bob"), (b"authorization", b"Bearer sk-alice")], ALICE),
    ([(b"x-api-key", b"sk-bob"), (b"authorization", b"Basic c2s6")], BOB),
]

BAD = [
    [],
    [(b"authorization", b"")],
    [(b"authorization", b"Bearer")],
    [(b"authorization", b"Bearer ")],
    [(b"authorization", b"Bearer sk-nobody")],
    [(b"authorization", b"sk-alice")],
    [(b"authorization", b"Basic sk-alice")],
    [(b"authorization", b"Bearer \xff\xfe")],
    [(b"authorization", b"Bearer ' OR '1'='1")],
    [(b"authorization", b"Bearer " + digest(b"sk-alice"))],
    [(b"x-api-key", b"")],
    [(b"x-api-key", b"sk-nobody")],
    [(b"authorization", b"Bearer sk-nobody"), (b"x-api-key", b"sk-bob")],
]

AMBIGUOUS = [
    [(b"authorization", b"Bearer sk-alice"), (b"authorization", b"Bearer sk-alice")],
    [(b"authorization", b"Bearer sk-alice"), (b"authorization", b"Basic c2s6")],
    [(b"x-api-key", b"sk-bob"), (b"x-api-key", b"sk-alice")],
]


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(("headers", "who"), GOOD)
def test_a_known_key_is_its_owner_however_it_is_sent(headers, who, required):
    assert Authenticator(KEYS, required).authenticate([(b"host", b"a"), *headers]) is who


@pytest.mark.parametrize("headers", BAD + AMBIGUOUS)
def test_everything_else_is_the_same_401(headers):
    with pytest.raises(ClientError) as caught:
        Authenticator(KEYS, required=True).authenticate(headers)
    with pytest.raises(ClientError) as missing:
        Authenticator({}, required=True).authenticate([])
    assert caught.value.status == 401
    assert caught.value.body() == missing.value.body()


@pytest.mark.parametrize("headers", BAD)
def test_while_authentication_is_off_an_unknown_sender_is_anonymous(headers):
    """The SDKs cannot be used without some key, so one that nobody knows must do no harm."""
    assert Authenticator(KEYS, required=False).authenticate(headers) is ANONYMOUS
    assert ANONYMOUS.models == ("*",)


@pytest.mark.parametrize("headers", AMBIGUOUS)
def test_two_of_a_kind_are_refused_even_then(headers):
    with pytest.raises(ClientError):
        Authenticator(KEYS, required=False).authenticate(headers)


def test_the_digest_of_nothing_is_nobodys_key():
    nobody = VirtualKey("nobody", digest(b""))
    with pytest.raises(ClientError):
        Authenticator({nobody.digest: nobody}, required=True).authenticate([])
