"""Who a request's headers say that they are."""

from __future__ import annotations

import hashlib
import json

import pytest

from gateway.core.errors import GatewayError
from gateway.core.limits.auth_throttle import AuthThrottle
from gateway.core.types import VirtualKey
from gateway.endpoints.auth import ANONYMOUS_KEY, Authenticator
from tests.heads import request_of
from tests.in_force import Settings


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
    ([(b"x-api-key", b"sk-alice"), (b"authorization", b"Bearer sk-alice")], ALICE),
    ([(b"x-api-key", b" sk-alice "), (b"authorization", b"Bearer sk-alice"), (b"api-key", b"sk-alice")], ALICE),
    ([(b"x-api-key", b"sk-bob"), (b"authorization", b"Basic c2s6")], BOB),
    ([(b"api-key", b"sk-bob")], BOB),
    ([(b"api-key", b"sk-alice"), (b"x-api-key", b"sk-alice")], ALICE),
    ([(b"api-key", b"sk-bob"), (b"authorization", b"Bearer ")], BOB),
    ([(b"x-api-key", b""), (b"api-key", b"sk-bob")], BOB),
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
    [(b"api-key", b"")],
    [(b"api-key", b"sk-nobody")],
    [(b"api-key", b"Bearer sk-bob")],
    [(b"authorization", b"Bearer Bearer sk-alice")],
    [(b"authorization", b"Bearer sk-alice\x00")],
    [(b"authorization", b"Bearer sk-alice sk-alice")],
    [(b"authorization", b"Bearer,sk-alice")],
    [(b"authorization", b"Token sk-alice")],
    [(b"authorization", b"Bearer " + b"k" * (1 << 20))],
    [(b"cookie", b"authorization=Bearer sk-alice; x-api-key=sk-alice")],
    [(b"proxy-authorization", b"Bearer sk-alice")],
]

AMBIGUOUS = [
    [(b"authorization", b"Bearer sk-alice"), (b"authorization", b"Bearer sk-alice")],
    [(b"authorization", b"Bearer sk-alice"), (b"authorization", b"Basic c2s6")],
    [(b"x-api-key", b"sk-bob"), (b"x-api-key", b"sk-alice")],
    [(b"api-key", b"sk-bob"), (b"api-key", b"sk-bob")],
    [(b"authorization", b"Bearer sk-nobody"), (b"x-api-key", b"sk-bob")],
    [(b"authorization", b"Bearer sk-alice"), (b"x-api-key", b"sk-bob")],
    [(b"x-api-key", b"sk-nobody"), (b"api-key", b"sk-bob")],
    [(b"api-key", b"sk-bob"), (b"authorization", b"Bearer sk-alice")],
    [(b"authorization", b"Basic c2s6"), (b"authorization", b"Basic c2s6")],
]


class Clock:
    """Monotonic seconds, at the test's will."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def authenticator(keys=KEYS, required=True, clock=None):
    return Authenticator(keys.get, lambda: required, AuthThrottle(), clock or Clock(), Settings())


def sent(headers, address="192.0.2.1"):
    return request_of([(b"host", b"a"), *headers], address=address)


def refusal(found: Authenticator, headers, address="192.0.2.1"):
    """How a request is refused: status and body."""
    with pytest.raises(GatewayError) as caught:
        found.authenticate(sent(headers, address))
    return caught.value.status, caught.value.body()


MISSING = refusal(authenticator({}), [])


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(("headers", "who"), GOOD)
def test_a_known_key_is_its_owner_however_it_is_sent(headers, who, required):
    assert authenticator(required=required).authenticate(sent(headers)) is who


@pytest.mark.parametrize("headers", BAD)
def test_everything_else_is_the_same_401(headers):
    assert MISSING[0] == 401
    assert refusal(authenticator(), headers) == MISSING


@pytest.mark.parametrize("headers", BAD)
def test_while_authentication_is_off_an_unknown_sender_is_anonymous(headers):
    """The SDKs cannot be used without some key, so one that nobody knows must do no harm."""
    off = authenticator(required=False)
    for _ in range(50):
        assert off.authenticate(sent(headers)) is ANONYMOUS_KEY
    assert (off.failures, off.throttled) == (0, 0)
    assert ANONYMOUS_KEY.models == ("*",)


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("headers", AMBIGUOUS)
def test_several_keys_are_refused_whatever_they_are(headers, required):
    """The key that counts must not depend on who reads the request. No key is looked at, so none was guessed."""
    door = authenticator(required=required)
    (status, body), *others = {refusal(door, headers) for _ in range(30)}
    assert (status, others) == (400, [])
    assert json.loads(body)["error"]["code"] == "ambiguous_api_key"
    assert (door.failures, door.throttled) == (0, 0)


def test_the_digest_of_nothing_is_nobodys_key():
    nobody = VirtualKey("nobody", digest(b""))
    assert refusal(authenticator({nobody.digest: nobody}), []) == MISSING


def test_a_guesser_is_told_to_slow_down():
    clock = Clock()
    door = authenticator(clock=clock)
    for number in range(10):
        assert refusal(door, [bearer(b"guess %d" % number)]) == MISSING
    wrong = refusal(door, [bearer(b"another guess")])
    assert wrong[0] == 429
    assert refusal(door, [(b"x-api-key", b"one more")]) == wrong
    assert (door.failures, door.throttled) == (12, 2)
    assert refusal(door, [bearer(b"guess")], "198.51.100.7") == MISSING, "elsewhere nobody has to wait"
    clock.now += 60.0
    assert refusal(door, [bearer(b"guess")]) == MISSING


@pytest.mark.parametrize("before", [0, 1], ids=["new at the address", "used there before"])
def test_a_valid_key_passes_however_many_failed_at_its_address(before):
    """One forgotten program with an old key must not lock out its whole office."""
    door = authenticator()
    for _ in range(before):
        assert door.authenticate(sent([bearer(b"sk-alice")])) is ALICE
    for number in range(30):
        refusal(door, [bearer(b"guess %d" % number)])
        assert door.authenticate(sent([bearer(b"sk-alice")])) is ALICE
    assert (door.failures, door.throttled) == (30, 20), "and its passing makes nobody's failures forgotten"


def test_a_key_that_is_revoked_fails_like_any_other():
    keys = dict(KEYS)
    door = authenticator(keys)
    assert door.authenticate(sent([bearer(b"sk-bob")])) is BOB
    for number in range(10):
        refusal(door, [bearer(b"guess %d" % number)])
    del keys[BOB.digest]
    assert refusal(door, [bearer(b"sk-bob")])[0] == 429


def test_a_probe_that_sends_no_key_locks_nobody_out():
    door = authenticator()
    for _ in range(30):
        assert refusal(door, []) == MISSING
        assert refusal(door, [(b"authorization", b"Basic c2s6")]) == MISSING
    assert door.authenticate(sent([bearer(b"sk-bob")])) is BOB
    assert (door.failures, door.throttled) == (60, 0)


def test_a_client_without_an_address_is_one_like_any_other():
    """As behind a Unix socket."""
    door = authenticator()
    assert door.authenticate(sent([bearer(b"sk-bob")], None)) is BOB


def bearer(key: bytes):
    return b"authorization", b"Bearer " + key
