"""The images a client sends in, as bytes, links, data URLs and base64 text."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ClientError
from gateway.core.images.types import SourceImage
from gateway.wire.source_images import MAX_LINK, image_from_bytes, image_from_text, image_from_value

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
        (b"", "PNG, JPEG, WebP, GIF or AVIF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "PNG, JPEG, WebP, GIF or AVIF"),
        (PNG[:20], "PNG header is broken or cut off"),
        (png(7072, 7072), "7072x7072 pixels are more than the 50000000"),
        (png((1 << 31) - 1, (1 << 31) - 1), "more than"),
    ],
)
def test_other_bytes_are_refused(data, words):
    assert words in refusal(image_from_bytes, data).message


def test_fifty_million_pixels_are_allowed():
    assert image_from_bytes(png(10_000, 5_000), "image").width == 10_000


@pytest.mark.parametrize(
    "link",
    [
        "https://example.com",
        "http://example.com/a b.png".replace(" ", "%20"),
        "HTTPS://例え.jp/猫.png?w=640&q=90#x",
        "https://e.com/" + "a" * (MAX_LINK - 14),
    ],
)
def test_links_pass_as_they_are(link):
    image = image_from_text(link, "image")
    assert image == SourceImage(url=link)
    assert (image.width, image.height) == (0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "https://",
        "https:///etc/passwd",
        "https://e.com/a b",
        "https://e.com/\nx",
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
        "data:image/png;base64,AAAAA",
        "data:image/png;base64,*" + B64,
        "data:image/png;base64,é" + B64,
        "data:image/png;base64," + base64.b64encode(b"no image").decode(),
        "",
    ],
)
def test_other_texts_are_refused(text):
    refusal(image_from_text, text)


@pytest.mark.parametrize(
    "text",
    [
        f"data:image/png;base64,{B64}",
        f"DATA:;Base64,{B64}",
        f"data:image/jpeg;charset=x;base64,{B64[:9]}\r\n {B64[9:]}",
    ],
)
def test_a_data_url_holds_its_image_whatever_type_it_claims(text):
    assert image_from_text(text, "image") == SourceImage(PNG, None, "image/png", 3, 2)


@pytest.mark.parametrize(
    "text",
    [
        B64 + "\n",
        B64.rstrip("="),
        B64.replace("+", "-").replace("/", "_"),
        B64.replace("+", "-").replace("/", "_").rstrip("="),
        " ".join(B64),
        "\r\n".join((B64[:40], B64[40:])),
        "\t" + B64,
        B64.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
        "data:image/png; base64, " + B64,
        "data:;charset=utf-8;base64," + B64.rstrip("="),
        f"  data:image/png;base64,{B64}  ",
    ],
)
def test_base64_is_read_however_it_is_written_down(text):
    assert image_from_text(text, "image") == SourceImage(PNG, None, "image/png", 3, 2)


@pytest.mark.parametrize(
    "value",
    [
        B64,
        {"image_url": B64},
        {"image_url": {"url": B64}},
        {"url": B64},
        {"b64_json": B64},
        {"type": "input_image", "image_url": f"data:image/png;base64,{B64}"},
        {"type": "base64", "media_type": "image/png", "data": B64},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": B64}},
        {"image_url": None, "b64_json": B64, "file_id": None},
    ],
)
def test_an_image_may_be_inside_of_objects(value):
    assert image_from_value(value, "images[0]", "anyone").data == PNG


@pytest.mark.parametrize(
    ("value", "param", "words"),
    [
        ({"file_id": "file-1"}, "images[0].file_id", "not kept here"),
        ({"image_url": {}}, "images[0].image_url.image_url", "Missing"),
        ({}, "images[0].image_url", "Missing"),
        (5, "images[0]", "a string or an object"),
        ({"url": [B64]}, "images[0].url", "a string or an object"),
        ({"picture": B64}, "images[0].picture", "Unknown"),
        ({"b64_json": "?"}, "images[0].b64_json", "base64"),
    ],
)
def test_what_is_no_image_is_named(value, param, words):
    with pytest.raises(ClientError) as caught:
        image_from_value(value, "images[0]", "anyone")
    assert (caught.value.status, caught.value.param) == (404 if "file_id" in param else 400, param)
    assert words in caught.value.message


def test_an_object_within_itself_ends():
    value = {"url": {"url": {"url": {"url": {"url": {"url": B64}}}}}}
    with pytest.raises(ClientError):
        image_from_value(value, "image", "anyone")


def test_avif_is_taken_and_heic_is_refused_by_name():
    avif = drawn("avif", 30, 20)
    assert image_from_bytes(avif, "image") == SourceImage(avif, None, "image/avif", 30, 20)
    heic = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + b"\x00" * 40
    message = refusal(image_from_bytes, heic).message
    assert "HEIC" in message
    assert "PNG, JPEG, WebP, GIF or AVIF" in message
    assert "AVIF header is broken" in refusal(image_from_bytes, avif[:40]).message


@given(st.text(max_size=60) | st.builds("data:{};base64,{}".format, st.text(max_size=9), st.text(max_size=30)))
def test_any_text_gives_an_image_or_a_clients_error(text):
    with refused_with({"invalid_value"}):
        assert image_from_text(text, "image").url == text.strip(" \t\r\n")
