"""The painting of OpenAI's mask (transparent means: repaint) into the image itself, for Flux, which repaints white.

Both files come from a client and may be malicious: few formats are accepted, and pixels are counted before decoding.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import GifImagePlugin, Image, ImageOps, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from gateway.core.errors import ClientError, invalid_request
from gateway.images.pillow import BROKEN
from gateway.wire.image_bytes import MAX_PIXELS, dimensions, image_type

_MOST_SCANS = 100
"""Scans of a progressive JPEG; encoders write about ten. Each is a pass over all pixels, even if it has few bytes."""

_OPAQUE_FROM = 128
"""Alpha from which a mask's pixel counts as opaque. Edges are drawn smooth, but a pixel is either repainted or not."""

_FORMATS = tuple(
    plugin.format
    for plugin in (
        PngImagePlugin.PngImageFile,
        JpegImagePlugin.JpegImageFile,
        WebPImagePlugin.WebPImageFile,
        GifImagePlugin.GifImageFile,
    )
)
"""The formats that are read, named by their plugins: once these are imported, Pillow does not load all the others."""

_RGB_PROFILED = frozenset(("RGB", "RGBA", "P"))
"""Modes whose colour profile also fits the RGB that is written."""


def paint_mask(image: bytes, mask: bytes) -> bytes:
    """``image`` as PNG, white wherever ``mask`` is transparent (alpha below 128), every other pixel as it was.

    Both may be PNG, JPEG, WebP or GIF (of a moving one the first frame counts) and are rotated as their EXIF says.
    Raises ClientError 400 with the param ``image`` or ``mask``: for files that are broken, of another format or above
    50,000,000 pixels, for a mask without transparency or of another size. Takes up to a few seconds of a core.
    """
    with _opened(image, "image") as opened, _opened(mask, "mask") as stencil:
        if sorted(opened.size) != sorted(stencil.size):  # nothing need be decoded to see that
            raise _other_size(opened, stencil)
        with _reading("mask"):
            transparent = _transparent(stencil)
        with _reading("image"):
            painted = _in_colour(opened)
        if painted.size != transparent.size:
            raise _other_size(painted, transparent)
        painted.paste((255,) * len(painted.getbands()), None, transparent)
        written = io.BytesIO()
        profile = opened.info.get("icc_profile") if opened.mode in _RGB_PROFILED else None
        painted.save(written, "PNG", icc_profile=profile)
    return written.getvalue()


@contextmanager
def _reading(param: str) -> Iterator[None]:
    """Turn the errors of Pillow's readers into one error for the client."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels(param) from None
    except BROKEN as error:
        raise _unusable(f"The {param} cannot be read: send a complete PNG, JPEG, WebP or GIF.", param) from error


@contextmanager
def _opened(data: bytes, param: str) -> Iterator[Image.Image]:
    """The image with its header read and checked, and nothing decoded."""
    _count_pixels(dimensions(data) or (0, 0), param)  # some of Pillow's readers make room before they tell the size
    with _reading(param):
        opened = Image.open(io.BytesIO(data), formats=_FORMATS)
    with opened:
        _count_pixels(opened.size, param)  # a GIF's first image may be larger than its header says
        if image_type(data) == "jpeg" and data.count(b"\xff\xda") > _MOST_SCANS:
            raise _unusable(f"The {param} is a JPEG of more than {_MOST_SCANS} scans.", param)
        yield opened


def _transparent(stencil: Image.Image) -> Image.Image:
    """255 where the mask is transparent, 0 elsewhere; one band, turned upright."""
    if not stencil.has_transparency_data:
        raise _unusable(
            "The mask has no alpha channel: send a PNG that is transparent where the image shall be repainted "
            "and opaque everywhere else.",
            "mask",
        )
    alpha = stencil.convert("RGBA").getchannel("A")
    ImageOps.exif_transpose(alpha, in_place=True)
    return alpha.point([255] * _OPAQUE_FROM + [0] * (256 - _OPAQUE_FROM))


def _in_colour(image: Image.Image) -> Image.Image:
    """The image upright as RGB, or as RGBA if it has any transparency of its own."""
    mode = "RGBA" if image.has_transparency_data else "RGB"
    if image.mode.startswith("I;16"):
        image = image.point(lambda level: level * (1 / 256)).convert("L")
    colour = image if image.mode == mode else image.convert(mode)
    ImageOps.exif_transpose(colour, in_place=True)
    return colour


def _count_pixels(size: tuple[int, int], param: str) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise _too_many_pixels(param)


def _too_many_pixels(param: str) -> ClientError:
    return _unusable(f"The {param} has more than {MAX_PIXELS:,} pixels: send a smaller one.", param)


def _other_size(image: Image.Image, stencil: Image.Image) -> ClientError:
    return _unusable(
        f"The mask is {stencil.width}x{stencil.height} pixels and the image {image.width}x{image.height}: "
        "both must be of the same size.",
        "mask",
    )


def _unusable(message: str, param: str) -> ClientError:
    return invalid_request(message, param=param, code="invalid_value")
