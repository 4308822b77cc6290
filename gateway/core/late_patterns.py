"""Regular expressions that are compiled when they are first used.

For the words of errors: most of them are never met, and compiling them all is a tenth of the time until the gateway
serves.
"""

from __future__ import annotations

import re
from typing import Any, cast


def compiled_late(source: str, flags: int = 0) -> re.Pattern[str]:
    """The pattern as ``re.compile`` returns it, for its users."""
    return cast("re.Pattern[str]", _Late(source, flags))


class _Late:
    """Takes the place of a pattern, and has its methods once one was asked for."""

    def __init__(self, source: str, flags: int) -> None:
        self._asked = (source, flags)

    def __getattr__(self, name: str) -> Any:
        """Called for what is not there yet."""
        compiled = re.compile(*self._asked)
        for method in ("search", "match", "fullmatch", "sub", "finditer"):
            setattr(self, method, getattr(compiled, method))
        return getattr(compiled, name)
