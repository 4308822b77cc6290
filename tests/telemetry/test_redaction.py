"""Configured secrets and whatever looks like a key are replaced in every spelling."""

import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.telemetry.redaction import MASK, MIN_SECRET, Redactor, fingerprint

CANARY = '0123abcd/canary+key=="\\é'


@pytest.mark.parametrize(
    "spelled",
    [
        CANARY,
        json.dumps(CANARY),
        json.dumps(CANARY, ensure_ascii=False),
        json.dumps(json.dumps(CANARY, ensure_ascii=False), ensure_ascii=False),
        quote(CANARY),
        quote(CANARY, safe=""),
        quote_plus(CANARY),
        quote(CANARY, safe="").lower(),
    ],
)
def test_a_secret_is_found_however_it_is_spelled(spelled: str):
    redactor = Redactor([CANARY])
    text = f"GET /?a={spelled}&b=1"
    assert MASK in redactor.text(text)
    assert "canary" not in redactor.text(text)
    assert b"canary" not in redactor.data(text.encode())
    assert redactor.touches(text.encode())


def test_the_longest_secret_wins():
    redactor = Redactor(["secret-one", "secret-one-and-more"])
    assert redactor.text("secret-one-and-more secret-one") == f"{MASK} {MASK}"


def test_values_too_short_to_be_keys_are_left_alone():
    assert Redactor(["demo", ""]).text("the demo") == "the demo"


@pytest.mark.parametrize(
    "text",
    [
        "sk-proj-0123456789",
        "key=gw-abcdefgh1234",
        "Authorization: Bearer abcdef123456",
        "authorization: bearer   abc.def-ghi",
        "Bearer%20abcdef123456",
        r"\nBearer\tabcdef123456",
        r"\nsk-0123456789",
        r"\u000agw-0123456789",
        "%0Ask-0123456789",
    ],
)
def test_what_looks_like_a_key_is_masked_though_nobody_configured_it(text: str):
    redactor = Redactor()
    assert redactor.text(text).endswith(MASK)
    assert redactor.data(text.encode()).endswith(MASK.encode())
    assert redactor.touches(text.encode())


@pytest.mark.parametrize(
    "text",
    ["disk-usage-of-the-host", "ask-somebody-else", "sk-short", "sk-learn-pipeline", "the bearer of news", "gpt-4o"],
)
def test_plain_words_stay(text: str):
    assert Redactor().text(text) == text
    assert not Redactor().touches(text.encode())


def test_many_secrets_are_found_as_few_are():
    secrets = [f"{number:032x}" for number in range(1, 200)]
    redactor = Redactor(secrets)
    for secret in secrets:
        assert redactor.touches(b"x" + secret.encode())
    assert not redactor.touches(b"nothing here")


def test_a_secret_that_is_no_unicode_does_no_harm():
    assert Redactor(["key-\udcff-\udcfe-x"]).text("fine") == "fine"


def test_a_redactor_does_not_show_what_it_hides():
    assert "canary" not in repr(Redactor([CANARY]))


def test_a_fingerprint_is_eight_digits_of_the_hash():
    assert fingerprint("abc") == fingerprint(b"abc") == "ba7816bf"
    assert len(fingerprint("\udcff")) == 8


# Secrets of letters that the text around lacks, so that nothing around can complete one by accident.
SECRETS = st.lists(st.text('kéy/+%"\\', min_size=MIN_SECRET, max_size=20), min_size=1, max_size=20)
AROUND = st.text("abc :,{}[]\n\x1b\x00", max_size=20)


@settings(deadline=None)
@given(SECRETS, st.lists(AROUND, min_size=2, max_size=5))
def test_no_secret_survives_anywhere(secrets: list[str], around: list[str]):
    redactor = Redactor(secrets)
    text = around[0] + "".join(secrets[place % len(secrets)] + rest for place, rest in enumerate(around[1:]))
    for secret in secrets[: len(around) - 1]:
        assert secret not in redactor.text(text)
        assert secret.encode() not in redactor.data(text.encode())
    assert redactor.touches(text.encode())
    assert not redactor.touches("".join(around).encode())


@settings(deadline=None)
@given(st.text(max_size=60))
def test_touching_and_replacing_agree(text: str):
    redactor = Redactor(["abcdefgh", "12345678"])
    assert redactor.touches(text.encode()) == (redactor.data(text.encode()) != text.encode())


@given(st.text(alphabet="abSK sk-gwBearer0123456789+\\n", max_size=60))
def test_bytes_are_changed_exactly_where_text_is(text: str):
    redactor = Redactor(["0123456789", "abSKabSK"])
    assert redactor.data(text.encode()) == redactor.text(text).encode()


def test_bytes_without_anything_to_hide_are_given_back_as_they_are():
    data = b"iVBORw0KGgo" * 1000
    assert Redactor(["0123456789"]).data(data) is data


class TestWords:
    """What upstreams say: only values are hidden, and the hosts of our own upstreams."""

    REDACTOR = Redactor([CANARY], ["api.piapi.ai", "127.0.0.1", "litellm", "::1"])

    @pytest.mark.parametrize(
        ("said", "shown"),
        [
            (f"the key {CANARY} is not known", f"the key {MASK} is not known"),
            ("see https://api.piapi.ai/docs for more", "see [link] for more"),
            ("see https://API.PIAPI.AI, please", "see [link], please"),
            ("(http://u:p@api.piapi.ai:8080/v1?x=1)", "([link])"),
            ("http://litellm:4000/v1 and http://[::1]/v1", "[link] and [link]"),
            ("api.piapi.ai and api.piapi.ai:443 are down", "[host] and [host] are down"),
            ("dial tcp 127.0.0.1:8080: refused", "dial tcp [host]: refused"),
            ("litellm:4000 is down", "[host] is down"),
        ],
    )
    def test_values_and_own_hosts_are_hidden(self, said: str, shown: str) -> None:
        assert self.REDACTOR.words(said.encode()) == shown.encode()

    @pytest.mark.parametrize(
        "said",
        [
            "see https://piapi.ai/docs and https://platform.openai.com",
            "litellm.BadRequestError: no",
            "myapi.piapi.ai, api.piapi.ai.example.com and https://api.piapi.airlines.com",
            "write to api@piapi.ai",
            "a Bearer token, sk-0123456789 and call_0123456789",
        ],
    )
    def test_nothing_else_is(self, said: str) -> None:
        assert self.REDACTOR.words(said.encode()) == said.encode()

    def test_without_values_and_hosts_nothing_is(self) -> None:
        assert Redactor().words(b"https://api.piapi.ai") == b"https://api.piapi.ai"

    def test_documents_keep_their_links(self) -> None:
        assert self.REDACTOR.data(b"https://api.piapi.ai/x.png") == b"https://api.piapi.ai/x.png"
