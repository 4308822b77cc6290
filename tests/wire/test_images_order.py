"""Orders as an Images API reads them: JSON, multipart, and the words of older models."""

from __future__ import annotations

import json
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import pytest

from gateway.core.images.types import ImageKind, ImagesRequest, SourceImage
from gateway.wire.images_order import ImagesOrder, images_order

IMAGE = b"\x89PNG\r\n\x1a\n--edge\x00\xff"
LINK = "https://example.com/cat.png"


def written(
    kind: ImageKind = "generation", n: int = 1, stream: bool = False, partial: int = 0, **f: Any
) -> ImagesOrder:
    request = ImagesRequest(kind, "gpt-image-1", "A cat", **f)
    return images_order(
        request, "gpt-image-up", prompt="A cat", n=n, stream=stream, partial_images=partial, boundary="bound-7"
    )


def parts_of(order: ImagesOrder) -> list[Message]:
    head = b"content-type: " + order.content_type + b"\r\n\r\n"
    return list(BytesParser(policy=HTTP).parsebytes(head + order.body).iter_parts())  # type: ignore[attr-defined]


def name_of(part: Message) -> str:
    return str(part.get_param("name", "", "content-disposition"))


def test_a_generation_is_json() -> None:
    options = {"background": "transparent", "output_compression": 80, "user": "alice"}
    order = written(n=2, size="1536x1024", quality="low", options=options, flux={"steps": 4})
    assert order.content_type == b"application/json"
    assert json.loads(order.body) == {
        "model": "gpt-image-up",
        "prompt": "A cat",
        "n": 2,
        "size": "1536x1024",
        "quality": "low",
        **options,
    }
    assert (order.size, order.quality) == ("1536x1024", "low")


def test_only_what_the_client_gave_is_said() -> None:
    order = written()
    assert json.loads(order.body) == {"model": "gpt-image-up", "prompt": "A cat", "n": 1}
    assert (order.size, order.quality) == (None, None)


def test_a_stream_and_its_previews() -> None:
    assert "partial_images" not in json.loads(written(stream=True).body)
    assert json.loads(written(stream=True, partial=2).body)["partial_images"] == 2
    assert "partial_images" not in json.loads(written(partial=2).body)


@pytest.mark.parametrize(
    ("given", "sent", "known"),
    [
        ("1024x1024", "1024x1024", "1024x1024"),
        ("1536x1024", "1536x1024", "1536x1024"),
        ("1024x1536", "1024x1536", "1024x1536"),
        ("256x256", "1024x1024", "1024x1024"),
        ("512x512", "1024x1024", "1024x1024"),
        ("1792x1024", "1536x1024", "1536x1024"),
        ("1024x1792", "1024x1536", "1024x1536"),
        ("auto", "auto", None),
        ("1600x900", "1600x900", "1600x900"),
    ],
)
def test_sizes_of_older_models_become_the_nearest(given: str, sent: str, known: str | None) -> None:
    order = written(size=given)
    assert (json.loads(order.body)["size"], order.size) == (sent, known)


@pytest.mark.parametrize(
    ("given", "sent", "known"),
    [("standard", "medium", "medium"), ("hd", "high", "high"), ("medium", "medium", "medium"), ("auto", "auto", None)],
)
def test_qualities_of_older_models_are_translated(given: str, sent: str, known: str | None) -> None:
    order = written(quality=given)
    assert (json.loads(order.body)["quality"], order.quality) == (sent, known)


def test_an_edit_of_one_image_is_a_form() -> None:
    order = written("edit", images=(SourceImage(IMAGE),), stream=True, options={"output_compression": 80})
    assert order.content_type == b"multipart/form-data; boundary=bound-7"
    *fields, image = parts_of(order)
    assert {name_of(part): part.get_payload() for part in fields} == {
        "model": "gpt-image-up",
        "prompt": "A cat",
        "n": "1",
        "output_compression": "80",
        "stream": "true",
    }
    assert (name_of(image), image.get_filename(), image.get_content_type()) == (
        "image",
        "image-1.png",
        "image/png",
    )
    assert b"\r\n\r\n" + IMAGE + b"\r\n--bound-7--\r\n" in order.body


def test_an_edit_of_several_images_with_a_mask() -> None:
    images = (SourceImage(IMAGE), SourceImage(b"two", content_type="image/jpeg"))
    files = parts_of(written("edit", images=images, mask=SourceImage(b"mask")))[3:]
    assert [(name_of(part), part.get_filename(), part.get_payload(decode=True)) for part in files[1:]] == [
        ("image[]", "image-2.jpg", b"two"),
        ("mask", "mask.png", b"mask"),
    ]
    assert (name_of(files[0]), files[0].get_filename()) == ("image[]", "image-1.png")


def test_a_content_type_that_is_none_cannot_add_headers() -> None:
    image = SourceImage(b"one", content_type="image/png\r\nx-evil: 1")
    (part,) = parts_of(written("edit", images=(image,)))[3:]
    assert (part.get_filename(), part.get_content_type()) == ("image-1.bin", "application/octet-stream")
    assert part["x-evil"] is None


@pytest.mark.parametrize("linked", ["image", "mask"])
def test_one_link_makes_the_whole_edit_json(linked: str) -> None:
    """A client's link is followed by the upstream, not by us."""
    at_hand, at_link = SourceImage(b"one"), SourceImage(url=LINK)
    image, mask = (at_link, at_hand) if linked == "image" else (at_hand, at_link)
    order = written("edit", images=(image,), mask=mask)
    assert order.content_type == b"application/json"
    document = json.loads(order.body)
    assert document["images"] == [{"image_url": image.as_url()}]
    assert document["mask"] == {"image_url": mask.as_url()}
    assert LINK in (document["images"][0]["image_url"], document["mask"]["image_url"])


def test_a_link_alone() -> None:
    document = json.loads(written("edit", images=(SourceImage(url=LINK),)).body)
    assert document == {"model": "gpt-image-up", "prompt": "A cat", "n": 1, "images": [{"image_url": LINK}]}
