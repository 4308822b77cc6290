"""Forms are read strictly and byte for byte, so that a test can compare what a client sent."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sandbox.wire.forms import Form, FormFile, parse_form

TYPE = b"multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'


def test_fields_and_files_in_their_order() -> None:
    body = (
        PART
        + b'--b\r\ncontent-disposition: form-data; name="image[]"; filename="x.png"\r\ncontent-type: image/png\r\n\r\n'
        + b"\x89PNG\r\n\x1a\n\r\n--\r\n"
        + b'--b\r\ncontent-disposition: form-data; name="image[]"; filename=""\r\n\r\n\r\n--b--\r\n'
    )
    form = parse_form(b'Multipart/Form-Data; charset=utf-8; boundary="b"', body)

    assert form == Form(
        (("a", "x"),),
        (FormFile("image[]", "x.png", "image/png", b"\x89PNG\r\n\x1a\n\r\n--"), FormFile("image[]", "", "", b"")),
    )
    assert (form.get("a"), form.get("b")) == ("x", None)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (b"multipart/form-data", PART + b"--b--"),
        (b"application/json; boundary=b", PART + b"--b--"),
        (TYPE, b""),
        (TYPE, PART),
        (TYPE, b"before" + PART + b"--b--"),
        (TYPE, PART + b"--b--\r\nafter"),
        (TYPE, b"--b\r\nno head\r\n--b--"),
        (TYPE, b"--b\r\nno colon\r\n\r\nx\r\n--b--"),
        (TYPE, b"--b\r\na: b\r\nA: b\r\n\r\nx\r\n--b--"),
        (TYPE, b"--b\r\na: b\r\n\r\nx\r\n--b--"),
        (TYPE, b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--"),
        (TYPE, b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--b--'),
    ],
)
def test_what_is_no_form(content_type: bytes, body: bytes) -> None:
    with pytest.raises(ValueError):
        parse_form(content_type, body)


@settings(max_examples=100, deadline=None)
@given(
    fields=st.lists(st.tuples(st.from_regex(r"\A[a-z_\[\]]{1,9}\Z"), st.text(max_size=40)), max_size=4),
    files=st.lists(st.binary(max_size=60), max_size=3),
)
def test_what_is_written_is_read_back(fields: list[tuple[str, str]], files: list[bytes]) -> None:
    named = [(f'name="{name}"', text.encode()) for name, text in fields]
    named += [(f'name="image[]"; filename="{number}.png"', data) for number, data in enumerate(files)]
    boundary = "sandbox-boundary-of-the-test"
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {name}\r\n\r\n".encode() + data + b"\r\n"
        for name, data in named
    )
    form = parse_form(f"multipart/form-data; boundary={boundary}".encode(), body + f"--{boundary}--\r\n".encode())

    assert form.fields == tuple(fields)
    assert [(file.filename, file.data) for file in form.files] == [
        (f"{number}.png", data) for number, data in enumerate(files)
    ]
