"""The images a client sends in, as bytes, links, data URLs and base64 text."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ClientError
from gateway.core.images.types import SourceImage
from gateway.wire.source_images import MAX_LINK, image_from_bytes, image_from_text, image_from_url

from .forms import refused_with
from .test_image_bytes import drawn, png

PNG = drawn("png", 3, 2)
B64 = base64.b64encode(PNG).decode()


def refusal(read, value) -> ClientError:
    with pytest.raises(ClientError) as caught:
        read(value, "image[1]")
    error = caught.value
    assert (error.status, error.code, error.param) == (400, "invalid_value", "image[1]")
    assert error.__cause__ is None
    assert len(error.message) < 200
    return error


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif"])
def test_the_bytes_say_what_they_are(kind):
    data = drawn(kind, 3, 2, "P" if kind == "gif" else "RGB")
    assert image_from_bytes(data, "image") == SourceImage(data, None, f"image/{kind}", 3, 2)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "PNG, JPEG, WebP or GIF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "PNG, JPEG, WebP or GIF"),
        (PNG[:20], "PNG header is broken or cut off"),
        (png(7072, 7072), "7072x7072 pixels are more than the 50000000"),
        (png((1 << 31) - 1, (1 << 31) - 1), "more than"),
    ],
)
def test_other_bytes_are_refused(data, words):
    assert words in refusal(image_from_bytes, data).message


def test_fifty_million_pixels_are_allowed():
    assert image_from_bytes(png(10_000, 5_000), "image").width == 10_000


@pytest.mark.parametrize("read", [image_from_url, image_from_text])
@pytest.mark.parametrize(
    "link",
    [
        "https://example.com",
        "http://example.com/a b.png".replace(" ", "%20"),
        "HTTPS://例え.jp/猫.png?w=640&q=90#x",
        "https://e.com/" + "a" * (MAX_LINK - 14),
    ],
)
def test_links_pass_as_they_are(read, link):
    image = read(link, "image")
    assert image == SourceImage(url=link)
    assert (image.width, image.height) == (0, 0)


@pytest.mark.parametrize("read", [image_from_url, image_from_text])
@pytest.mark.parametrize(
    "text",
    [
        "https://",
        "https:///etc/passwd",
        "https://e.com/a b",
        "https://e.com/\n",
        "https://e.com/\x00",
        "https://e.com/\u2028",
        "https://e.com/" + "a" * MAX_LINK,
        "ftp://e.com/a",
        "file:///etc/passwd",
        "data:image/png",
        "data:image/png,abc",
        "data:image/png;base64",
        "data:" + "a" * 300 + ";base64," + B64,
        "data:image/png;base64,",
        "data:image/png;base64," + B64[:-1],
        "data:image/png;base64,*" + B64,
        "data:image/png;base64,é" + B64,
        "data:image/png;base64," + base64.b64encode(b"no image").decode(),
        "",
    ],
)
def test_other_texts_are_refused(read, text):
    refusal(read, text)


@pytest.mark.parametrize(
    "text",
    [
        f"data:image/png;base64,{B64}",
        f"DATA:;Base64,{B64}",
        f"data:image/jpeg;charset=x;base64,{B64[:9]}\r\n {B64[9:]}",
    ],
)
@pytest.mark.parametrize("read", [image_from_url, image_from_text])
def test_a_data_url_holds_its_image_whatever_type_it_claims(read, text):
    assert read(text, "image") == SourceImage(PNG, None, "image/png", 3, 2)


def test_base64_text_alone_is_an_image_where_no_link_is_asked_for():
    assert image_from_text(B64 + "\n", "image").data == PNG
    assert "link" in refusal(image_from_url, B64).message


@given(st.text(max_size=60) | st.builds("data:{};base64,{}".format, st.text(max_size=9), st.text(max_size=30)))
def test_any_text_gives_an_image_or_a_clients_error(text):
    for read in (image_from_text, image_from_url):
        with refused_with({"invalid_value"}):
            assert read(text, "image").url == text
