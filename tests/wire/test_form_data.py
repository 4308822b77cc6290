"""Multipart bodies: what was put into a form comes out of it, and nothing else that is sent does any harm."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.errors import ClientError
from gateway.wire.form_data import MAX_PART_HEADERS, MAX_PARTS, MAX_TEXT, FormFile, parse_form

from .forms import (
    BOUNDARY,
    CONTENT_TYPE,
    file_part,
    form_of,
    refused_with,
    sent_by_node_sdk,
    sent_by_python_sdk,
    text_part,
)

PNG = b"\x89PNG\r\n\x1a\n--not-a-boundary\r\n\r\n"


def refusal(body: bytes, content_type: bytes = CONTENT_TYPE) -> ClientError:
    with pytest.raises(ClientError) as caught:
        parse_form(body, content_type)
    error = caught.value
    assert (error.status, error.type, error.code) == (400, "invalid_request_error", "invalid_form")
    assert error.message.startswith("The request's form cannot be read: ")
    assert len(error.message) < 300
    assert error.__cause__ is None
    return error


def test_fields_and_files_come_out_in_order_and_file_names_are_forgotten():
    body = form_of(
        [
            text_part("prompt", "a cat\r\nand ✓"),
            file_part("image[]", PNG, filename="../../etc/passwd"),
            text_part("n", "2"),
            file_part("image[]", b"", "image/WebP; x=y"),
            text_part("n", ""),
        ]
    )
    form = parse_form(body, CONTENT_TYPE)
    assert form.fields == [("prompt", "a cat\r\nand ✓"), ("n", "2"), ("n", "")]
    assert form.files == [FormFile("image[]", "image/png", PNG), FormFile("image[]", "image/webp", b"", "png")]
    assert "passwd" not in repr(form)
    assert "cat" not in repr(form)


@pytest.mark.parametrize(
    ("head", "content_type", "ending"),
    [
        ('name="image"; filename=""', "", ""),
        ("name=image; filename=a.png", "", "png"),
        ("name=\"image\"; filename*=UTF-8''%e2%9c%93.png", "", ""),
        ('name="image"\r\nContent-Type: image/png', "image/png", ""),
        ('name="file"\r\nContent-Type: audio/mpeg', "audio/mpeg", ""),
        ('name="image"; filename="a.PNG"\r\ncontent-type: Application/Octet-Stream', "application/octet-stream", "png"),
    ],
)
def test_a_part_is_a_file_if_anything_says_so(head, content_type, ending):
    part = f"Content-Disposition: form-data; {head}\r\n\r\n".encode() + PNG
    name = "file" if "audio" in content_type else "image"
    assert parse_form(form_of([part]), CONTENT_TYPE).files == [FormFile(name, content_type, PNG, ending)]


def test_an_empty_form_is_one():
    form = parse_form(form_of([]), CONTENT_TYPE)
    assert (form.fields, form.files) == ([], [])


def test_a_quoted_boundary_is_read_and_so_is_a_preamble_free_body_of_a_browser():
    body = form_of([text_part("a", "b")], "with space:?")
    assert parse_form(body, b'Multipart/Form-Data; charset=utf-8; boundary="with space:?"').fields == [("a", "b")]


@pytest.mark.parametrize(
    ("content_type", "words"),
    [
        (b"", "must be multipart/form-data"),
        (b"application/json", "must be multipart/form-data"),
        (b"multipart/mixed; boundary=a", "must be multipart/form-data"),
        (b"multipart/form-data", "boundary"),
        (b"multipart/form-data; boundary=", "boundary"),
        (b'multipart/form-data; boundary="a\r\nb"', "boundary"),
        (b"multipart/form-data; boundary=" + b"a" * 71, "1 to 70"),
        (b'multipart/form-data; boundary="a "', "boundary"),
        (b'multipart/form-data; boundary="\xff"', "boundary"),
        (b"multipart/form-data; boundary=other", "does not begin with the boundary"),
    ],
)
def test_a_content_type_must_name_a_boundary_that_the_body_has(content_type, words):
    assert words in refusal(form_of([text_part("a", "b")]), content_type).message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "ends before"),
        (b"--", "ends before"),
        (form_of([text_part("a", "b")])[:-4], "ends before"),
        (form_of([text_part("a", "b")])[:60], "ends before"),
        (b"preamble" + form_of([]), "in front of first boundary"),
        (form_of([text_part("a", "b")]).replace(b"\r\n", b"\n"), "line break"),
        (form_of([b"\r\n\r\nx"]), "missing content-disposition"),
        (form_of([b"Content-Disposition: attachment; name=a\r\n\r\nx"]), "wrong type"),
        (form_of([b"Content-Disposition: form-data\r\n\r\nx"]), "missing name"),
        (form_of([b"no colon\r\n\r\nx"]), "malformed segment header"),
        (form_of([b'Content-Disposition: form-data; name="\xff"\r\n\r\nx']), "header is not valid UTF-8"),
        (form_of([b"X-A: b\r\n" * 9 + text_part("a", "b")]), "more than 8 headers"),
        (form_of([b"X-A: " + b"b" * MAX_PART_HEADERS + b"\r\n" + text_part("a", "b")]), "8192 bytes of headers"),
        (form_of([(b"X-A: " + b"b" * 1500 + b"\r\n") * 6 + text_part("a", "b")]), "8192 bytes of headers"),
        (form_of([text_part("a", "b")] * (MAX_PARTS + 1)), f"more than {MAX_PARTS} parts"),
    ],
)
def test_what_is_wrong_with_a_body_is_said(body, words):
    assert words.lower() in refusal(body).message.lower()


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"ab\xff", "ab\ufffd"),
        ("a hat 🎩".encode()[:-1], "a hat \ufffd"),
        (b"a hat \xed\xa0\xbc", "a hat \ufffd"),
        (b"a hat \xed\xa0\xbc\xed\xbe\xa9", "a hat 🎩"),
    ],
    ids=["no UTF-8", "cut", "half an emoji", "two halves"],
)
def test_text_that_was_cut_in_a_character_is_read(sent, text):
    assert parse_form(form_of([text_part("prompt", sent)]), CONTENT_TYPE).fields == [("prompt", text)]


def test_text_is_of_bounded_length():
    error = refusal(form_of([text_part("x" * 100, "a" * (MAX_TEXT + 1))]))
    assert error.param == "x" * 64 + "…"
    assert parse_form(form_of([text_part("prompt", "a" * MAX_TEXT)]), CONTENT_TYPE).fields[0][1] == "a" * MAX_TEXT


def test_as_many_parts_as_allowed_are_read():
    assert len(parse_form(form_of([text_part("a", "b")] * MAX_PARTS), CONTENT_TYPE).fields) == MAX_PARTS


def test_an_error_never_repeats_a_files_bytes():
    error = refusal(form_of([file_part("image", b"secret"), b"secret header\r\n\r\nsecret"]))
    assert "secret" not in error.message


@given(st.binary(max_size=200), st.binary(max_size=80))
@example(b"--a\r\nContent-Disposition: form-data; name*=x\r\n\r\n\r\n--a--", b"multipart/form-data; boundary=a")
def test_any_bytes_give_a_form_or_a_clients_error(body, content_type):
    for header in (content_type, CONTENT_TYPE):
        for sent in (body, form_of([body]), form_of([text_part("a", "b"), body])):
            with refused_with({"invalid_form"}):
                parse_form(sent, header)


_NAMES = st.text(st.characters(codec="utf-8", exclude_characters='"\\%\r\n'), min_size=1, max_size=20)
_DATA = st.binary(max_size=50).filter(lambda data: BOUNDARY.encode() not in data)


@given(st.lists(st.tuples(_NAMES, st.text(max_size=30) | _DATA), max_size=10))
def test_what_is_put_into_a_form_comes_out_of_it(parts):
    body = form_of(
        [text_part(name, value) if isinstance(value, str) else file_part(name, value) for name, value in parts]
    )
    form = parse_form(body, CONTENT_TYPE)
    assert form.fields == [part for part in parts if isinstance(part[1], str)]
    assert form.files == [
        FormFile(name, "image/png", value, "png") for name, value in parts if isinstance(value, bytes)
    ]


def test_the_python_sdks_edit_is_read():
    form = parse_form(
        *sent_by_python_sdk("edit", model="m", prompt="x", image=[PNG, ("b", PNG, "image/png")], mask=PNG)
    )
    assert sorted(form.fields) == [("model", "m"), ("prompt", "x")]
    assert [(file.name, file.content_type) for file in form.files] == [
        ("image[]", "application/octet-stream"),
        ("image[]", "image/png"),
        ("mask", "application/octet-stream"),
    ]
    assert {file.data for file in form.files} == {PNG}


def test_the_node_sdks_edit_is_read():
    form = parse_form(*sent_by_node_sdk("edit", {"model": "m", "prompt": "✓"}, {"image": [PNG, PNG], "mask": PNG}))
    assert form.fields == [("model", "m"), ("prompt", "✓")]
    assert form.files == [FormFile(name, "image/png", PNG, "png") for name in ("image[]", "image[]", "mask")]


@given(st.integers(80, 400), st.binary(max_size=600), st.sampled_from([b"", b"\r\nan epilogue", b"x" * 500]))
@example(100, b"\r\n--" * 60, b"")
def test_a_form_is_the_same_however_it_is_cut_into_slices(size: int, data: bytes, behind: bytes) -> None:
    parts = [text_part("prompt", "a cat"), file_part("image", data), text_part("n", "2"), file_part("image", b"\r\n")]
    body = form_of(parts) + behind
    whole = parse_form(body, CONTENT_TYPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.wire.form_data._SLICE", size)
        assert parse_form(body, CONTENT_TYPE) == whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.wire.form_data._SLICE", size)
        assert "ends before" in refusal(body[: len(form_of(parts)) - 10]).message
