"""Images in formats that image models do not read → PNG or JPEG. Decoding takes long; see ``mask_renderer.py``."""

from __future__ import annotations

import io

from PIL import AvifImagePlugin, Image, ImageOps

from gateway.core.errors import ClientError, invalid_request
from gateway.core.images.types import SourceImage
from gateway.images.pillow import BROKEN
from gateway.wire.image_bytes import MAX_PIXELS
from gateway.wire.source_images import image_from_bytes

_FORMAT = AvifImagePlugin.AvifImageFile.format
_QUALITY = 95
"""Of a JPEG: no loss that a person or a model would see."""


def converted(image: SourceImage, param: str) -> SourceImage:
    """The image, upright, as JPEG, or as PNG if it has any transparency; of a moving one the first frame.

    Raises ClientError 400 naming ``param`` for bytes that cannot be decoded, and for more pixels than are allowed.
    """
    try:
        with Image.open(io.BytesIO(image.data), formats=[_FORMAT]) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise _unusable(param, f"it has more than {MAX_PIXELS} pixels")
            transparent = opened.has_transparency_data
            upright = ImageOps.exif_transpose(opened.convert("RGBA" if transparent else "RGB"))
            written = io.BytesIO()
            upright.save(written, "PNG" if transparent else "JPEG", quality=_QUALITY)
    except (Image.DecompressionBombError, *BROKEN) as error:
        raise _unusable(param, "it cannot be read; send a complete image") from error
    return image_from_bytes(written.getvalue(), param)


def _unusable(param: str, why: str) -> ClientError:
    return invalid_request(f"Invalid value for '{param}': {why}.", param=param, code="invalid_value")
