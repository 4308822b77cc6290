"""Secrets are compared in constant time, and a wrong one costs the same work as a right one, or none at all.

Time itself says little in a test: what is asserted is which comparisons are made. A coarse look at the clock is at the
end.
"""

from __future__ import annotations

import ast
import hashlib
import hmac
import statistics
import time
from pathlib import Path
from typing import Any

import pytest

import gateway
from gateway.core.errors import ClientError, GatewayError
from gateway.core.limits.auth_throttle import AuthThrottle
from gateway.core.types import VirtualKey
from gateway.endpoints.admin.door import AdminDoor
from gateway.endpoints.auth import Authenticator
from gateway.endpoints.webhooks import webhook_routes
from tests.heads import request_of
from tests.in_force import Settings

from .gateway import ask, handlers
from .gateway import sent as request_with

ROOT = Path(gateway.__file__).parent
SECRET_WORDS = ("secret", "token", "pepper", "admin_key", "password", "signature", "digest", "mac")
ADMIN_KEY = "admin-key-0123456789"


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """Every pair that was compared in constant time."""
    found: list[tuple[bytes, bytes]] = []
    honest = hmac.compare_digest

    def watched(one: Any, other: Any) -> bool:
        found.append((one, other))
        return honest(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    return found


@pytest.mark.parametrize("sent", [ADMIN_KEY, ADMIN_KEY[:-1], "a" + ADMIN_KEY[1:], "x", "", ADMIN_KEY + "x", "é"])
def test_every_guess_of_the_admin_key_is_one_whole_comparison(sent: str, compared: list[tuple[bytes, bytes]]) -> None:
    door = AdminDoor(Settings(admin_key=ADMIN_KEY), lambda request: "192.0.2.1", time.monotonic)
    let_in = True
    try:
        door.enter(request_of([(b"authorization", f"Bearer {sent}".encode())]))
    except ClientError:
        let_in = False
    assert let_in is (sent == ADMIN_KEY)
    assert compared == [(hashlib.sha256(sent.encode()).digest(), hashlib.sha256(ADMIN_KEY.encode()).digest())]


@pytest.mark.parametrize("sent", ["s3cret", "s3cre", "x3cret", "", "s3cretx"])
@pytest.mark.parametrize("token", ["token", "another"])
async def test_every_webhook_is_one_whole_comparison(
    sent: str, token: str, compared: list[tuple[bytes, bytes]]
) -> None:
    [route] = handlers(webhook_routes(SECRET, lambda waiting: waiting == "token", lambda _: True))
    refused = False
    try:
        await ask(route, request_with(headers=[(b"x-webhook-secret", sent.encode())], token=token))
    except ClientError:
        refused = True
    assert refused is not (sent == "s3cret" and token == "token")
    assert compared == [(sent.encode(), b"s3cret")]


SECRET = Settings(webhook_secret="s3cret")


def authenticator(found: list[bytes]) -> tuple[Authenticator, bytes]:
    """One that has one key, and tells what was looked up."""
    key = b"gw-good-0123456789abcdef"
    owner = VirtualKey("owner", hashlib.sha256(key).digest())

    def find(digest: bytes) -> VirtualKey | None:
        found.append(digest)
        return owner if digest == owner.digest else None

    return Authenticator(find, lambda: True, AuthThrottle(), time.monotonic, Settings()), key


@pytest.mark.parametrize("change", ["", "x", "prefix", "none", "scheme"])
def test_every_virtual_key_is_hashed_and_looked_up_once(change: str) -> None:
    looked_up: list[bytes] = []
    door, key = authenticator(looked_up)
    sent = {"x": key[:-1] + b"x", "prefix": key[:20], "none": b""}.get(change, key)
    scheme = b"Basic " if change == "scheme" else b"Bearer "
    headers = [(b"authorization", scheme + sent)]
    refused = False
    try:
        door.authenticate(request_of(headers))
    except GatewayError:
        refused = True
    assert refused is (change != "")
    assert len(looked_up) == 1
    assert len(looked_up[0]) == 32, "never the key itself"


def test_no_secret_is_compared_with_an_equals_sign() -> None:
    """A comparison that stops at the first difference tells how far a guess was right."""
    suspicious = []
    for file in sorted(ROOT.rglob("*.py")):
        if "sandbox" in file.relative_to(ROOT).parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
                continue
            sides = [node.left, *node.comparators]
            if any(isinstance(side, ast.Constant) for side in sides):
                continue  # with a word of our own, as of "is it empty"
            words = [ast.unparse(side).lower().rsplit(".", 1)[-1] for side in sides]
            if any(word == secret or word.endswith("_" + secret) for word in words for secret in SECRET_WORDS):
                suspicious.append((file.relative_to(ROOT).as_posix(), ast.unparse(node)))
    assert set(suspicious) <= KNOWN, "hmac.compare_digest, or say here that no client sends it"


KNOWN = {
    ("config/assemble.py", "section.key == admin_key"),
    ("config/changes.py", "old.digest != new.digest"),
    ("keys/fields.py", "old[0][0] == key.old_digest"),
    ("stores/sqlite/backup.py", "_digest(folder / name) != digest"),
}
"""Comparisons of what no client sends: of two configurations, of rows, of files with their own sums."""


def test_near_and_far_guesses_take_equally_long() -> None:
    """Medians of many, interleaved: a comparison character by character, or a look-up by prefix, would show as a
    multiple, noise does not.
    """
    looked_up: list[bytes] = []
    door, key = authenticator(looked_up)
    near, far = key[:-1] + b"x", b"x" * len(key)
    spent: dict[bytes, list[int]] = {near: [], far: []}
    for number in range(4000):
        for sent in (near, far) if number % 2 else (far, near):
            request = request_of([(b"authorization", b"Bearer " + sent)], address=None)
            began = time.perf_counter_ns()
            try:
                door.authenticate(request)
            except GatewayError:
                spent[sent].append(time.perf_counter_ns() - began)
    one, other = (statistics.median(times) for times in spent.values())
    assert 1 / 3 < one / other < 3
