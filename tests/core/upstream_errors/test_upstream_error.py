"""An upstream's error, whatever shape it came in."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.upstream_errors.upstream_error import UpstreamError, error_in, read_upstream_error, words_of


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (
            {"error": {"message": "m", "type": "t", "param": "p", "code": "c"}},
            UpstreamError("m", "t", "p", "c"),
        ),
        ({"error": {"message": "m", "code": 429}}, UpstreamError("m", code=429)),
        ({"error": {"message": "m", "code": "429"}}, UpstreamError("m", code=429)),
        ({"error": "timeout"}, UpstreamError("timeout", code="timeout")),
        ({"error": "it is too late"}, UpstreamError("it is too late")),
        (
            {"error": "generation_failed", "code": "generation_failed"},
            UpstreamError("generation_failed", code="generation_failed"),
        ),
        ({"error": {"raw_message": "r"}, "message": "outer", "code": 400}, UpstreamError("r", code=400)),
        ({"error": {"type": "t"}, "message": "outer", "code": 400}, UpstreamError("outer", "t", code=400)),
        ({"error": {}, "message": "no error"}, None),
        ({"error": ["odd"], "code": 500}, UpstreamError("odd", code=500)),
        ({"code": 400, "message": "invalid model", "data": None}, UpstreamError("invalid model", code=400)),
        ({"code": 200, "message": "success", "data": {}}, None),
        ({"code": 0, "message": "success"}, None),
        ({"code": True, "message": "odd"}, None),
        ({"error": None, "choices": []}, None),
        ({"choices": [], "code": 400, "message": "a model said this"}, None),
        ({"choices": [{}], "error": {"message": "", "code": None}}, None),
        ({"choices": [{}], "error": {"message": "m"}}, UpstreamError("m")),
        ([{"error": {"message": "m", "code": 400}}], UpstreamError("m", code=400)),
        ([{"choices": []}], None),
        (
            {"error_code": 17, "error_msg": "the day's requests are used up"},
            UpstreamError("the day's requests are used up", code=17),
        ),
        ({"error_code": 0, "error_msg": ""}, None),
        ({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, UpstreamError("login fail", code=1004)),
        ({"base_resp": {"status_code": 0, "status_msg": ""}}, None),
        (
            {"object": "error", "message": "m", "type": "BadRequestError", "code": None},
            UpstreamError("m", "BadRequestError"),
        ),
        (["error"], None),
        ([], None),
        (None, None),
    ],
)
def test_finding_an_error(document: object, words: UpstreamError | None) -> None:
    assert error_in(document) == words


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"message": "flat", "type": "t", "code": "c"}, UpstreamError("flat", "t", None, "c")),
        ({"detail": "Not Found"}, UpstreamError("Not Found")),
        ("bare", UpstreamError("bare", code="bare")),
        ("bare words", UpstreamError("bare words")),
        ({}, UpstreamError()),
        (None, UpstreamError()),
        ([1], UpstreamError()),
        ("", UpstreamError()),
    ],
)
def test_words_of_a_document_known_to_be_an_error(document: object, words: UpstreamError) -> None:
    assert read_upstream_error(document) == words


def openrouter(raw: object) -> dict[str, Any]:
    return {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": raw}}}


WRONG = "max_tokens is too large: 999999"
INNER = {"error": {"message": WRONG}}
PAGE = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


@pytest.mark.parametrize(
    "document",
    [
        [{"error": {"code": 400, "message": WRONG, "status": "INVALID_ARGUMENT"}}],
        openrouter(json.dumps(INNER)),
        openrouter(INNER),
        openrouter(WRONG),
        openrouter(json.dumps({"message": WRONG, "code": "x"})),
        openrouter(f"data: {json.dumps(INNER)}"),
        {"detail": WRONG},
        {"detail": INNER},
        {"detail": [INNER]},
        {"message": INNER},
        {"error": {"message": {"message": WRONG}}},
        {"error": {"message": {"error": {"message": WRONG}}}},
        {"errors": [{"message": WRONG}]},
        {"errors": [WRONG]},
        {"error": {"errors": [{"message": WRONG, "domain": "global"}]}},
        {"error": {"message": "Bad Request", "details": [{"message": WRONG}]}},
        {"error": {"message": "Bad request.", "innererror": {"message": WRONG}}},
        {"msg": WRONG},
        {"error_msg": WRONG, "error_code": 336003},
        {"Message": WRONG, "__type": "ValidationException"},
        {"error": "Bad Request", "message": WRONG, "statusCode": 400},
        {"error": "invalid_request", "error_description": WRONG},
        {"error": {"message": json.dumps(INNER)}},
        {"error": {"message": f"Error code: 400 - {INNER}"}},
        {"error": {"message": f"litellm.BadRequestError: OpenAIException - {json.dumps(INNER)}"}},
        {"error": {"message": f"upstream returned status 400: {json.dumps(INNER)} (request id: 2026)"}},
        {"error": {"message": "bad response status code 400", "upstream_error": INNER}},
        {"error": {"message": "Provider returned error", "metadata": {"raw": PAGE}, "details": WRONG}},
        {"error": True, "message": WRONG},
        {"error": {"message": "Upstream error from Sandbox", "metadata": {"raw": WRONG}}},
        {"type": "https://example.com/problem", "title": "Bad Request", "detail": WRONG, "status": 400},
        {"title": WRONG},
        f'<?xml version="1.0"?><Error><Code>X</Code><Message>{WRONG}</Message></Error>',
        json.dumps(INNER),
    ],
    ids=lambda document: orjson.dumps(document).decode()[:70],
)
def test_what_really_was_wrong_is_found_wherever_it_stands(document: object) -> None:
    assert read_upstream_error(document).message == WRONG


def test_words_that_were_cut_off_are_read_as_far_as_they_go() -> None:
    cut = json.dumps({"error": {"message": WRONG, "code": "x"}})[:40]
    assert read_upstream_error(openrouter(cut)).message == WRONG[: 40 - len('{"error": {"message": "')]


class TestPlacesAndWhatIsWrongThere:
    def test_fastapis_list(self) -> None:
        missing = {"loc": ["body", "messages", 0, "content"], "msg": "field required", "type": "value_error.missing"}
        error = read_upstream_error({"detail": [missing, {"loc": ["body", "n"], "msg": "is odd", "type": "x"}]})
        assert error == UpstreamError("messages.0.content: field required; n: is odd", param="messages.0.content")

    def test_its_input_is_not_repeated(self) -> None:
        error = read_upstream_error({"detail": [{"loc": ["body"], "msg": "is odd", "input": "my secret prompt"}]})
        assert error.message == "body: is odd"

    def test_zods_path(self) -> None:
        error = read_upstream_error(
            {"error": [{"path": ["messages", 1], "message": "Required", "code": "invalid_type"}]}
        )
        assert (error.message, error.param, error.code) == ("messages.1: Required", "messages.1", "invalid_type")

    @pytest.mark.parametrize("title", ["message", "title"])
    def test_by_field(self, title: str) -> None:
        document = {title: "The given data was invalid.", "errors": {"n": ["is odd"], "top_k": "is odd, too"}}
        assert read_upstream_error(document) == UpstreamError("n: is odd; top_k: is odd, too", param="n")

    def test_googles_violations(self) -> None:
        violation = {"field": "contents[0]", "description": "must not be empty"}
        words = "Request contains an invalid argument."
        error = read_upstream_error({"error": {"message": words, "details": [{"fieldViolations": [violation]}]}})
        assert (error.message, error.param) == ("contents[0]: must not be empty", "contents[0]")

    def test_of_many_the_first_are_told(self) -> None:
        error = read_upstream_error({"errors": [f"number {number}" for number in range(100)]})
        assert error.message == "number 0; number 1; number 2; number 3; number 4"


@pytest.mark.parametrize(
    "message",
    [
        'Failed to parse tool arguments: {"message": "hi", "code": 3}',
        'The tool answered {"error": {"message": "not found"}} which is no string',
        "Invalid value at 'tools[0]'",
        "messages['role'] must be a string",
        '{"city": "Paris", "message": 7} is not of the schema',
        "Unknown parameter: {'temperature': 3}",
        "Invalid tag <div> in your input",
        "<html> tags are not allowed here",
        "Could not read `<!DOCTYPE html>` as JSON",
        "expected a value < 5 and > 2",
        "Your text <html><body>hello</body></html> has no title",
    ],
)
def test_what_a_message_quotes_of_the_client_stays(message: str) -> None:
    assert read_upstream_error({"error": {"message": message}}).message == message
    assert words_of(message) == message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PAGE, None),
        ("<!doctype html><html lang=en>", None),
        ("<center>nginx</center>", None),
        (f"Bad answer from the provider: {PAGE}", "Bad answer from the provider"),
        ("\n", None),
    ],
)
def test_pages_have_no_words(text: str, words: str | None) -> None:
    assert words_of(text) == words


class TestQuotedNames:
    """A code that a relay only quotes is for the client; whether it is about our own keys is another matter."""

    def test_the_relays_own_code_is_its_own(self) -> None:
        error = read_upstream_error({"error": {"message": json.dumps(INNER), "code": "c"}})
        assert (error.code, error.quoted) == ("c", False)

    def test_the_providers_is_quoted(self) -> None:
        raw = {"error": {"message": "bad key", "code": "invalid_api_key", "type": "t", "param": "p"}}
        error = read_upstream_error(openrouter(json.dumps(raw)))
        assert error == UpstreamError("bad key", "t", "p", "invalid_api_key", quoted=True)


class TestOtherNames:
    def test_azures_inner_code_and_results(self) -> None:
        inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}}
        error = read_upstream_error({"error": {"message": "m", "code": "content_filter", "innererror": inner}})
        assert error.code == "content_filter"
        assert error.names == ("content_filter", "ResponsibleAIPolicyViolation")

    def test_results_that_filtered_nothing_say_nothing(self) -> None:
        results = {"content_filter_results": {"hate": {"filtered": False}}}
        assert read_upstream_error({"error": {"message": "m", **results}}).names == ()

    @pytest.mark.parametrize(
        "fields",
        [
            {"metadata": {"reasons": ["violence"]}},
            {"metadata": {"flagged_input": "my text"}},
            {"promptFeedback": {"blockReason": "SAFETY"}},
            {"moderation_details": {"categories": ["violence"]}},
        ],
    )
    def test_marks_of_a_refused_prompt(self, fields: dict[str, Any]) -> None:
        assert read_upstream_error({"error": {"message": "m", **fields}}).names == ("flagged_input",)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just('{"error": {"message": "x"}}'),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "errors", "message", "detail", "code", "metadata", "raw", "loc", "msg", "type", "n"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_whatever_comes_is_read(document: object) -> None:
    error = read_upstream_error(document)
    assert error.message is None or error.message.strip()
    assert error_in(document) is None or isinstance(document, dict | list)


def test_what_is_nested_for_ever_is_read_to_a_depth() -> None:
    document: Any = {"message": "deep"}
    for _ in range(500):
        document = {"error": document}
    assert read_upstream_error(document) == UpstreamError()
    assert words_of("[" * 16_000 + '{"error": 1}') is not None
