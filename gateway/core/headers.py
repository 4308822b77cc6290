"""The header fields of a message, as all rooms hand them on: pairs of bytes, names in lower case, in their order."""

from __future__ import annotations

from collections.abc import Sequence

Header = tuple[bytes, bytes]
Headers = Sequence[Header]
