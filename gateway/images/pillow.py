"""What holds for every use of Pillow here: its bounds, and what it raises for a client's file."""

from __future__ import annotations

import struct
import warnings
import zlib

from PIL import Image

from gateway.wire.image_bytes import MAX_PIXELS

# Above twice this figure Pillow refuses by itself, above it it warns. Its warnings, of size or of odd metadata, are of
# no use: sizes are judged here, and a client's file shall not write to our standard error. They cannot be caught where
# they arise, as filters are not a thread's own.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.filterwarnings("ignore", module=r"PIL\b")

BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    OverflowError,
    struct.error,
    zlib.error,
    Warning,  # if a warnings filter turns them into errors
)
"""What Pillow's readers raise for files that are broken or made to break them."""
