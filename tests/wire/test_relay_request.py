"""Requests to relayed routes: what is checked, what is left out, and how they are written for an upstream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.errors import ClientError
from gateway.sandbox.wire import forms
from gateway.wire.form_data import Form, FormFile, parse_form
from gateway.wire.relay_request import (
    RelayRequest,
    ignored,
    parse_document,
    parse_relayed_form,
    upstream_document,
    upstream_form,
)
from gateway.wire.relay_routes import (
    COMPLETIONS,
    EMBEDDINGS,
    MODERATIONS,
    RELAY_ROUTES,
    SPEECH,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    AnswerForm,
    RelayRoute,
)

NOTHING: frozenset[str] = frozenset()
BOUNDARY = "0123456789abcdef"


def asked(route: RelayRoute, **fields: Any) -> RelayRequest:
    return parse_document(route, {"model": "m", **fields}, 100, {})


def filled_in(fields: list[tuple[str, str]], *files: FormFile) -> RelayRequest:
    return parse_relayed_form(TRANSCRIPTIONS, Form(fields, list(files)), 100, {})


class TestADocument:
    def test_goes_on_as_it_came_with_the_upstreams_name_of_the_model(self) -> None:
        request = asked(EMBEDDINGS, input=["a"], of_tomorrow={"x": None})
        sent = json.loads(upstream_document(request, "theirs", NOTHING, ask_usage=False))
        assert sent == {"model": "theirs", "input": ["a"], "of_tomorrow": {"x": None}}

    def test_loses_what_would_choose_another_place(self) -> None:
        request = asked(SPEECH, provider="x", api_key="y", webhook_config="z")
        assert set(ignored(request, NOTHING)) == {"provider", "api_key", "webhook_config"}
        sent = json.loads(upstream_document(request, "m", frozenset({"provider", "webhook_config"}), ask_usage=False))
        assert sent == {"model": "m", "provider": "x"}

    def test_asks_for_usage_beside_what_its_client_asked_for(self) -> None:
        request = asked(COMPLETIONS, stream=True, stream_options={"of_tomorrow": 1})
        sent = json.loads(upstream_document(request, "m", NOTHING, ask_usage=True))
        assert sent["stream_options"] == {"of_tomorrow": 1, "include_usage": True}
        assert not request.asks_for_usage
        assert asked(COMPLETIONS, stream_options={"include_usage": True}).asks_for_usage

    @pytest.mark.parametrize("model", [None, ""])
    def test_without_a_model(self, model: str | None) -> None:
        assert parse_document(MODERATIONS, {"model": model}, 1, {}).model == "omni-moderation-latest"
        assert parse_document(EMBEDDINGS, {"model": model}, 1, {"embeddings": "e"}).model == "e"
        for route in (EMBEDDINGS, COMPLETIONS, SPEECH):
            with pytest.raises(ClientError) as refused:
                parse_document(route, {"model": model}, 1, {"chat": "c"})
            assert refused.value.code == "missing_required_parameter"

    @pytest.mark.parametrize(
        ("route", "fields", "param"),
        [
            (EMBEDDINGS, {"model": 3}, "model"),
            (COMPLETIONS, {"stream": "true"}, "stream"),
            (COMPLETIONS, {"n": 0}, "n"),
            (COMPLETIONS, {"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
            (SPEECH, {"model": "a b"}, "model"),
        ],
    )
    def test_is_checked_where_it_is_acted_on(self, route: RelayRoute, fields: dict[str, Any], param: str) -> None:
        with pytest.raises(ClientError) as refused:
            asked(route, **fields)
        assert refused.value.param == param

    def test_is_not_checked_where_it_is_not(self) -> None:
        asked(EMBEDDINGS, input={"odd": True}, dimensions="many")
        asked(SPEECH, input=None, speed="fast", stream="perhaps")


class TestAForm:
    def test_keeps_its_fields_in_order_and_its_bytes(self) -> None:
        data = bytes(range(256)) * 10
        fields = [("model", "ours"), ("prompt", "naïve ✓"), ("include[]", "a"), ("include[]", "b"), ('q"\r\n', "x")]
        request = filled_in(fields, FormFile("file", "audio/mpeg", data, "mp3"))
        body = upstream_form(request, "theirs", NOTHING, BOUNDARY)
        read = forms.parse_form(f"multipart/form-data; boundary={BOUNDARY}".encode(), body)
        assert read.fields == (
            ("prompt", "naïve ✓"), ("include[]", "a"), ("include[]", "b"), ("q%22%0D%0A", "x"), ("model", "theirs"),
        )  # fmt: skip
        ((name, filename, content),) = [(one.name, one.filename, one.data) for one in read.files]
        assert (name, filename, content) == ("file", "audio.mp3", data)

    def test_loses_what_would_choose_another_place_at_any_depth(self) -> None:
        request = filled_in([("model", "m"), ("provider[order][]", "x"), ("api_base", "y")])
        body = upstream_form(request, "m", NOTHING, BOUNDARY)
        assert b"provider" not in body
        assert b"api_base" not in body
        assert b"provider" in upstream_form(request, "m", frozenset({"provider"}), BOUNDARY)

    @pytest.mark.parametrize(
        ("data", "ending", "told"),
        [
            (b"RIFF....WAVE", "", "wav"),
            (b"ID3...", "php", "mp3"),
            (b"\xff\xfb\x90", "", "mp3"),
            (b"fLaC", "", "flac"),
            (b"OggS", "oga", "oga"),
            (b"\x1aE\xdf\xa3", "", "webm"),
            (b"....ftypM4A", "", "m4a"),
            (b"whatever", "", "bin"),
            (b"RIFF", "webm", "webm"),
        ],
    )
    def test_tells_the_kind_of_its_file(self, data: bytes, ending: str, told: str) -> None:
        body = upstream_form(filled_in([("model", "m")], FormFile("file", "", data, ending)), "m", NOTHING, BOUNDARY)
        assert f'filename="audio.{told}"'.encode() in body

    @pytest.mark.parametrize(
        ("file_name", "ending"), [("a.MP3", "mp3"), ("../../etc/passwd", ""), ("a.b c", ""), ("x", "x"), ("a.", "")]
    )
    def test_no_more_of_a_files_name_is_kept(self, file_name: str, ending: str) -> None:
        body = (
            f'--b\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n\r\nRIFF\r\n--b--\r\n'
        ).encode()
        (file,) = parse_form(body, b"multipart/form-data; boundary=b").files
        assert file.ending == ending

    def test_of_two_models_the_last_counts(self) -> None:
        request = filled_in([("model", "first"), ("model", "last")])
        assert request.model == "last"
        assert upstream_form(request, "theirs", NOTHING, BOUNDARY).count(b'name="model"') == 1


@pytest.mark.parametrize(
    ("route", "fields", "answered", "bare"),
    [
        (EMBEDDINGS, {"stream": True}, AnswerForm.WHOLE, False),
        (COMPLETIONS, {}, AnswerForm.WHOLE, False),
        (COMPLETIONS, {"stream": True}, AnswerForm.EVENTS, False),
        (SPEECH, {}, AnswerForm.BYTES, True),
        (SPEECH, {"stream_format": "audio"}, AnswerForm.BYTES, True),
        (SPEECH, {"stream_format": "sse"}, AnswerForm.EVENTS, False),
        (TRANSCRIPTIONS, {"stream": "true"}, AnswerForm.EVENTS, False),
        (TRANSCRIPTIONS, {"response_format": "json"}, AnswerForm.WHOLE, False),
        (TRANSCRIPTIONS, {"response_format": "vtt"}, AnswerForm.WHOLE, True),
        (TRANSCRIPTIONS, {"response_format": "of_tomorrow"}, AnswerForm.WHOLE, True),
        (TRANSLATIONS, {"stream": "true"}, AnswerForm.WHOLE, False),
    ],
)
def test_how_it_is_answered(route: RelayRoute, fields: dict[str, Any], answered: AnswerForm, bare: bool) -> None:
    request = asked(route, **fields)
    assert (request.answered, request.is_bare) == (answered, bare)


def test_every_route_is_found_by_its_path() -> None:
    assert {path: route.path for path, route in RELAY_ROUTES.items()} == {path: path for path in RELAY_ROUTES}
