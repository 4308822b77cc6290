"""The masking of secrets: every configured value is replaced wherever it appears, and so is any text that looks like a
key.

Replacing by value covers every output (logs, errors, tracebacks), however a secret got there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, quote_plus

MASK = "[redacted]"

MIN_SECRET = 6
"""Characters: shorter values are words rather than keys, and masking them would damage the text around."""

_BEGINS = r"(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4})|(?<=%[0-9A-Fa-f]{2}))"
"""The beginning of a word: also right after a JSON or URL escape, whose last character looks like part of the word."""

_LOOKS_LIKE_A_KEY = (
    rf"{_BEGINS}(?:gw-[A-Za-z0-9_-]{{40,}}|(?:sk|gw)-(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{{8,}})"
    r"|[Bb]earer(?:\s|\\[nrt]|%20|\+)+[A-Za-z0-9._~+/=-]{6,}"
)
"""A key has digits in it; ``sk-learn-pipeline`` has none. One of our own may have none by chance, but it is long."""

_HINTS = (b"sk-", b"gw-", b"earer")
"""Every text that looks like a key contains one of these; searching for them is much faster than the pattern."""

_FEW = 12
"""Up to this many values are faster to search one by one than by a pattern."""


@lru_cache(maxsize=1024)
def fingerprint(value: str | bytes) -> str:
    """Eight hex digits of the SHA-256: enough to tell keys apart in a log, too few to recover one."""
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return hashlib.sha256(data).hexdigest()[:8]


class Redactor:
    """Replaces secrets by ``[redacted]``. Immutable; a reload of the configuration makes a new one."""

    __slots__ = ("_everything", "_everything_bytes", "_few", "_hosts", "_many", "_values_bytes")

    def __init__(self, secrets: Iterable[str] = (), hosts: Iterable[str] = ()) -> None:
        """Compile the patterns.

        ``secrets``: values to hide, as configured. Those shorter than ``MIN_SECRET`` are left alone.
        ``hosts``: the names of our upstreams' hosts, hidden in what upstreams say.
        """
        forms = {form for secret in secrets if len(secret) >= MIN_SECRET for form in _forms(secret)}
        ordered = sorted(forms, key=lambda form: (-len(form), form))  # the longest first, or a part would win
        encoded = [form.encode("utf-8", "backslashreplace") for form in ordered]
        self._everything = re.compile("|".join([*map(re.escape, ordered), _LOOKS_LIKE_A_KEY]))
        self._values_bytes = re.compile(b"|".join(map(re.escape, encoded))) if encoded else None
        self._hosts = _host_pattern(hosts)
        self._everything_bytes = re.compile(b"|".join([*map(re.escape, encoded), _LOOKS_LIKE_A_KEY.encode()]))
        unhinted = tuple(each for each in encoded if not any(hint in each for hint in _HINTS))
        self._few = unhinted if len(unhinted) <= _FEW else ()
        self._many = re.compile(b"|".join(map(re.escape, unhinted))) if len(unhinted) > _FEW else None

    def touches(self, data: bytes) -> bool:
        """Whether UTF-8 ``data`` holds a secret. Fast where it does not, which is nearly always."""
        for secret in self._few:
            if secret in data:
                return True
        if self._many is not None and self._many.search(data):
            return True
        if b"sk-" in data or b"gw-" in data or b"earer" in data:  # _HINTS
            return self._everything_bytes.search(data) is not None
        return False

    def text(self, text: str) -> str:
        """``text`` with every secret replaced."""
        return self._everything.sub(MASK, text)

    def data(self, data: bytes) -> bytes:
        """The same for UTF-8 bytes. Returns ``data`` itself where there is nothing to hide, which is much faster."""
        return self._everything_bytes.sub(MASK.encode(), data) if self.touches(data) else data

    def words(self, data: bytes) -> bytes:
        """UTF-8 words of an upstream's without configured values and our upstreams' hosts.

        Nothing else is masked: what only looks like a key is judged by core/outcomes/shown_words.py, which all words
        of upstreams pass as well, with more care than a log needs.
        """
        if self._values_bytes is not None:
            data = self._values_bytes.sub(MASK.encode(), data)
        return data if self._hosts is None else self._hosts.sub(_masked_host, data)


def _host_pattern(hosts: Iterable[str]) -> re.Pattern[bytes] | None:
    """URLs of these hosts, and their names alone. A name without a dot is a word, unless a port follows it."""
    names = sorted({host.lower().strip("[]") for host in hosts if host}, key=lambda host: (-len(host), host))
    if not names:
        return None
    known = "|".join(re.escape(name) for name in names)
    dotted = "|".join(re.escape(name) for name in names if "." in name or ":" in name)
    alone = rf"(?<![\w.@-])(?:(?:{known}):\d{{1,5}}" + (rf"|(?:{dotted})(?!\.?[\w-]))" if dotted else ")")
    rest = r"[^\s\"'<>)\]}]"
    url = (
        rf"\b[a-z][a-z0-9+.-]{{1,19}}://(?:[^\s/@\"'<>]{{1,512}}@)?\[?(?:{known})\]?(?![\w-]|\.\w)"
        rf"(?:[:/?#](?:{rest}*[^\s\"'<>)\]}}.,;:!?])?)?"
    )
    return re.compile(f"(?P<url>{url})|{alone}".encode(), re.IGNORECASE)


def _masked_host(found: re.Match[bytes]) -> bytes:
    return b"[link]" if found["url"] else b"[host]"


def _forms(secret: str) -> set[str]:
    """The spellings of a secret: as it is, inside JSON (once or twice escaped), inside a URL."""
    once = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    twice = {json.dumps(form, ensure_ascii=False)[1:-1] for form in once}
    quoted = {quote(secret, errors="replace"), quote(secret, safe="", errors="replace")}
    quoted.add(quote_plus(secret, errors="replace"))
    lower = {re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), form) for form in quoted}
    return {secret} | once | twice | quoted | lower
