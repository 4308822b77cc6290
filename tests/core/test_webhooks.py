"""Messages to webhooks: signed as Standard Webhooks has it, and tried again after longer and longer rests."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from gateway.core.signing import signing_key
from gateway.core.webhooks import LONGEST_PAUSE, PAUSES, Failure, failure_of, pause_before, signature, signed_headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
NOW = 1_795_337_221


def test_the_signature_is_the_one_of_the_specifications_own_library() -> None:
    made = signature(signing_key(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_can_check_the_headers() -> None:
    headers = signed_headers(KEY, "msg_1", NOW, b"{}")
    expected = hmac.new(KEY, b"msg_1.1795337221.{}", hashlib.sha256).digest()
    assert headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1795337221",
        "webhook-signature": "v1," + base64.b64encode(expected).decode(),
    }


@pytest.mark.parametrize(
    ("secret", "key"),
    [(SECRET, KEY), ("whsec_YQ==", b"a"), ("whsec_YQ", b"a"), ("plain words", b"plain words"), ("YQ==", b"YQ==")],
)
def test_a_secret_is_base64_after_its_prefix_and_itself_without(secret: str, key: bytes) -> None:
    assert signing_key(secret) == key


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64!", "whsec_a"])
def test_a_secret_that_cannot_be_read_is_the_operators_to_mend(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_ must be base64") as caught:
        signing_key(secret)
    assert secret not in str(caught.value) or secret == "whsec_"


@pytest.mark.parametrize(
    ("status", "rest", "failure"),
    [
        (200, None, None),
        (204, "60", None),
        (302, None, Failure("status 302")),
        (503, "60", Failure("status 503", 60.0)),
        (429, "soon", Failure("status 429")),
        (410, None, Failure("status 410", final=True)),
        (0, "ConnectError: no", Failure("ConnectError: no")),
    ],
)
def test_what_an_answer_means(status: int, rest: str | None, failure: Failure | None) -> None:
    assert failure_of(status, rest, NOW) == failure


@pytest.mark.parametrize(
    ("tries", "rest", "chance", "pause"),
    [
        (1, 0.0, 0.0, 5.0),
        (1, 0.0, 1.0, 6.0),
        (4, 0.0, 0.0, 600.0),
        (1, 60.0, 0.0, 60.0),
        (2, 3000.0, 0.0, LONGEST_PAUSE),
    ],
)
def test_rests_grow_and_a_receiver_may_ask_for_longer_ones(
    tries: int, rest: float, chance: float, pause: float
) -> None:
    assert pause_before(tries, Failure("no", rest), chance) == pause
    assert list(PAUSES) == sorted(PAUSES)
