"""What a shell, a copied line or an example leaves in a key or an address, as words for the operator."""

from __future__ import annotations

import re

_QUOTES = "\"'`"
_OPENING = ("“", "”", "‘", "’", "«", "„")
_VARIABLE = re.compile(r"\$(?:\([A-Z_][A-Z0-9_]*\)|(?:env:)?[A-Z_][A-Z0-9_]*)|%[A-Z_][A-Z0-9_]*%|\{\{.*\}\}")
_LIKE_A_VARIABLE = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*")
_VARIABLE_NAME = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_(?:KEY|TOKEN|SECRET)(?:_[0-9]+)?")
_SCHEME = re.compile(r"(?:authorization:\s*)?bearer(?:\s|$)|authorization:|x-api-key:", re.IGNORECASE)
_PLACEHOLDER = re.compile(
    r"<.*>|.*\.\.\..*|.*….*"
    r"|(?:sk-)?your[-_ ]?(?:[a-z0-9]+[-_ ]?){0,4}(?:key|token|secret)(?:[-_ ]?here)?"
    r"|(?:insert|enter|paste|put|add)[-_ ].*(?:key|token|secret).*",
    re.IGNORECASE,
)
_PERHAPS_A_PLACEHOLDER = re.compile(
    r"(?:sk-|gw-)?(?:x{3,}|\*{3,}|0{6,}|1234567890?|abc123|todo|placeholder|(?:change|replace)[-_]?(?:me|this))",
    re.IGNORECASE,
)
_FEW = 6
_UNIT = 10
_USUAL_WORDS = re.compile(
    r"(?:[0-9]{1,4}|0?123456789?0?|[^A-Za-z0-9]|admin(?:istrator)?|a|an|api|asdf|change|default|demo|dummy|example|gateway"
    r"|gw|here|insecure|is|key|letmein|long|me|my|now|of|passw(?:or[dt]|d)|piapi|placeholder|please|qwert[yz]|random"
    r"|replace|root|secret|sk|some|string|super|test(?:ing)?|the|this|to|todo|token|very|welcome|with|xxx+|your)+",
    re.IGNORECASE,
)
_ROUTE = re.compile(
    r".*/(?:chat/completions|completions|responses|embeddings|moderations|messages|models(?:/[^/]+)?"
    r"|images/(?:generations|edits|variations)(?:/async)?|audio/(?:speech|transcriptions|translations)"
    r"|api/v1/task(?:/[^/]+)?|account/info)",
    re.IGNORECASE,
)


def odd_key(key: str) -> str:
    """What is certainly wrong with a key; empty if nothing is."""
    if _quoted(key):
        return "has quotes around it, which a shell would have taken away but a file of variables does not; remove them"
    if _SCHEME.match(key):
        return "begins like a header ('Bearer …'); give the key alone"
    if _VARIABLE.fullmatch(key):
        return "looks like a variable that nobody filled in; the environment is read by ${NAME}, with braces"
    if _PLACEHOLDER.fullmatch(key):
        return "is a placeholder, not a key; put the real one there"
    return "is the name of a variable, not its value; write ${NAME}" if _VARIABLE_NAME.fullmatch(key) else ""


def is_doubtful_key(key: str) -> str:
    """What is probably wrong with a key as it stands in the file or the environment; empty if nothing is."""
    stripped = key.strip()
    if key != stripped:
        what = (
            "a newline"
            if key.rstrip(" \t") != key.rstrip() or "\n" in key[: len(key) - len(key.lstrip())]
            else "blanks"
        )
        if not stripped:
            return "holds nothing but blanks, so it counts as empty"
        return f"has {what} around it, removed here; other programs that get it will stumble"
    if _LIKE_A_VARIABLE.fullmatch(key):
        return "looks like a variable that nobody filled in; the environment is read by ${NAME}, with braces"
    if len(key) > 1 and (key[0] in _QUOTES or key[-1] in _QUOTES):
        return "begins or ends with a quote; is a part of it missing?"
    return "looks like a placeholder, not a key" if _PERHAPS_A_PLACEHOLDER.fullmatch(key) else ""


def is_weak_key(key: str) -> str:
    """Why a key of the operator's own choice can be guessed, however long it is; empty if that is not plain."""
    if key and len(set(key.lower())) < _FEW:
        return f"has fewer than {_FEW} different characters, so it can be guessed"
    if any(key == (key[:unit] * len(key))[: len(key)] for unit in range(1, min(len(key) // 2, _UNIT) + 1)):
        return "repeats a few characters, so it can be guessed"
    return "is made of words that are tried first, so it can be guessed" if _USUAL_WORDS.fullmatch(key) else ""


def odd_address(address: str) -> str:
    """What is certainly wrong with an address that is none; empty if nothing that has a name is."""
    if address != address.strip():
        return "has blanks or a newline around it; remove them"
    if _quoted(address):
        return "has quotes around it, which a shell would have taken away but a file of variables does not; remove them"
    if _VARIABLE.fullmatch(address) or _LIKE_A_VARIABLE.fullmatch(address):
        return "looks like a variable that nobody filled in; the environment is read by ${NAME}, with braces"
    return "is a placeholder, not an address" if _PLACEHOLDER.fullmatch(address) and "//" not in address else ""


def names_a_route(path: str) -> bool:
    """Whether an upstream's address ends with a route, which the gateway adds by itself."""
    return _ROUTE.fullmatch(path) is not None


def _quoted(text: str) -> bool:
    return len(text) > 1 and ((text[0] in _QUOTES and text[-1] == text[0]) or text.startswith(_OPENING))
