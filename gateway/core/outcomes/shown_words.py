"""What of an upstream's words a client may read: all of them but keys, the ids of accounts, and private hosts.

A tool's name, the id of a call, the page a user is sent to are the client's own business and stay. Configured values,
and the hosts of our own upstreams, are struck out before (telemetry/redaction.py): only the configuration knows them.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit

from gateway.core.late_patterns import compiled_late
from gateway.core.upstream_errors.error_words import readable

MESSAGE_LIMIT = 2_000
_READ_LIMIT = 8_000
_NAME_LIMIT = 128
_PARAM_LIMIT = 256

MASK = "[redacted]"
LINK = "[link]"
HOST = "[host]"

_CONTROL = compiled_late(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\ufeff\ud800-\udfff]+")

_TOKEN = r"[A-Za-z0-9._~+/=-]"  # noqa: S105 - a pattern
_KEYS = compiled_late(
    r"(?<![A-Za-z0-9_-])(?:"
    r"(?:AIza|AKIA|ASIA|gsk_|xai-|hf_|r8_|nvapi-|pplx-|ghp_|gho_|github_pat_|glpat-|xox[abp]-|ya29\.|tgp_|fw_|csk-)"
    r"(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{16,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"
    # A key as its owner may see it: sk-…****abcd.
    r"|(?:sk|pk|rk|gw)[-_](?:[A-Za-z0-9_-]+(?:\*{2,}|\.{3,}|…|•{2,})[A-Za-z0-9_*.…•-]*|(?:\*{2,}|\.{3,}|…|•{2,})[A-Za-z0-9]+)"
    # Ids of our own accounts: one unbroken run of letters and digits after the prefix, as no tool is named.
    r"|(?:org|proj|acct)[-_](?=[A-Za-z]*[0-9])[A-Za-z0-9]{16,}(?![A-Za-z0-9_])"
    r")"
    rf"|\b[Bb]earer\s+(?:(?=[A-Za-z._~+/=-]*[0-9]){_TOKEN}{{6,}}|{_TOKEN}{{24,}})"
)
_LABELLED = compiled_late(
    r"(\b(?:x-)?api[ _-]?key(?: provided)?[\"']?\s{0,3}[:=]\s{0,3}[\"']?)(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{16,}"
    r"|(\bauthorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?)(?:bearer|basic)\s+(?!token\b)[A-Za-z0-9][^\s\"',;]*",
    re.IGNORECASE,
)
_PREFIXED = compiled_late(r"(?<![A-Za-z0-9_-])(?:sk|pk|rk|gw)[-_]([A-Za-z0-9_-]{8,})")

_URL = compiled_late(r"\b[a-z][a-z0-9+.-]{1,19}://[^\s\"'<>`\\]+", re.IGNORECASE)
_IPV4 = compiled_late(r"(?<![\w.-])(\d{1,3}(?:\.\d{1,3}){3})(?::\d{1,5})?(?![\w-]|\.\w)")
_IPV6 = compiled_late(
    r"\[([0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7})\](?::\d{1,5})?|(?<![\w:])((?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{1,4})(?!:?\w)",
    re.IGNORECASE,
)
_PRIVATE_NAMES = r"(?:internal|local|localdomain|lan|svc|intranet|corp|home\.arpa)"
# Without a port, "threading.local" is a thing in a program: a host then has a digit, a hyphen or three parts.
_PRIVATE_HOST = compiled_late(
    rf"(?<![\w.@-])(?:(?:[a-z0-9-]{{1,63}}\.){{1,8}}{_PRIVATE_NAMES}:\d{{1,5}}"
    rf"|(?:[a-z0-9-]{{1,63}}\.){{2,8}}{_PRIVATE_NAMES}(?![\w-]|\.\w)"
    rf"|[a-z0-9]+(?:-[a-z0-9]+)+\.{_PRIVATE_NAMES}(?![\w-]|\.\w)"
    rf"|localhost:\d{{1,5}})",
    re.IGNORECASE,
)
_PRIVATE_ENDING = compiled_late(rf"(?:\A|\.)(?:localhost|{_PRIVATE_NAMES})\Z", re.IGNORECASE)

_CREDENTIALS = frozenset(
    {
        "accesskey",
        "accesstoken",
        "apikey",
        "apitoken",
        "auth",
        "authkey",
        "authorization",
        "authtoken",
        "awsaccesskeyid",
        "bearer",
        "clientsecret",
        "credential",
        "credentials",
        "googleaccessid",
        "idtoken",
        "jwt",
        "key",
        "passwd",
        "password",
        "pwd",
        "refreshtoken",
        "secret",
        "secretkey",
        "sessiontoken",
        "sig",
        "signature",
        "subscriptionkey",
        "token",
        "xamzcredential",
        "xamzsecuritytoken",
        "xamzsignature",
        "xgoogcredential",
        "xgoogsignature",
        "xosssignature",
        "xosssecuritytoken",
    }
)
"""Parameters of a URL that are, or are signed by, a secret; without ``-`` and ``_``."""

_PLAIN_NAME = compiled_late(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)


def in_the_clients_words(message: str | None, model: str, asked: str) -> str | None:
    """An upstream's message with the client's name of the model in place of the upstream's own.

    ``model``: the upstream's name. ``asked``: the client's.
    """
    if message is None or model == asked or model not in message:
        return message
    named = re.compile(rf"(?<![\w./-]){re.escape(model)}(?![\w/-]|\.\w)")
    return named.sub(lambda _: asked, message)


def sanitise(message: str | None) -> str | None:
    """``message`` as a client may see it: one line of at most 2,000 characters without keys, account ids and private
    hosts. None if nothing is left that may be shown, as of a web page.
    """
    if message is None:
        return None
    text = readable(message[:_READ_LIMIT])
    if text is None:
        return None
    text = " ".join(_masked(_CONTROL.sub(" ", text)).split())
    if len(text) > MESSAGE_LIMIT:
        text = text[: MESSAGE_LIMIT - 1].rstrip() + "…"
    return text or None


def shown_name(value: object) -> str | None:
    """An error's type or code as a client may see it, or None: one printable line that is no key."""
    return _short(value, _NAME_LIMIT)


def shown_param(value: object) -> str | None:
    """The place in the request an error is about, such as ``messages[0].content``, or None."""
    return _short(value, _PARAM_LIMIT)


def plain_name(value: object) -> str | None:
    """A type or code for the log, which holds nothing of a prompt: a plain identifier, or None."""
    if not isinstance(value, str) or _PLAIN_NAME.fullmatch(value) is None:
        return None
    return value if _masked(value) == value else None


def _short(value: object, limit: int) -> str | None:
    if not isinstance(value, str) or not 0 < len(value.strip()) <= limit or not value.isprintable():
        return None
    return value if _masked(value) == value else None


def _masked(text: str) -> str:
    text = _URL.sub(_url, text)
    text = _LABELLED.sub(lambda found: f"{found[1] or found[2]}{MASK}", text)
    text = _KEYS.sub(MASK, text)
    text = _PREFIXED.sub(_prefixed, text)
    if "." in text or ":" in text:
        text = _IPV4.sub(_address, text)
        text = _IPV6.sub(_address, text)
        text = _PRIVATE_HOST.sub(HOST, text)
    return text


def _prefixed(found: re.Match[str]) -> str:
    """A key for ``sk-proj-8xA9…``, as it is for ``sk-learn-pipeline-2``: a key has a long part with digits in it."""
    parts = re.split("[-_]", found[1])
    for part in parts:
        digits = any(map(str.isdigit, part))
        if (len(part) >= 8 and digits and not part.isdigit()) or (len(part) >= 10 and digits) or len(part) >= 24:
            return MASK
    return MASK if len(found[1]) >= 40 else found[0]


def _url(found: re.Match[str]) -> str:
    """A URL that names a public host and carries no secret stays."""
    url = found[0]
    kept = url.rstrip(".,;:!?)]}*。，、）")
    rest = url[len(kept) :]
    try:
        parts = urlsplit(kept)
        host = parts.hostname or ""
    except ValueError:
        return LINK + rest
    if parts.username is not None or parts.password is not None or _is_private(host):
        return LINK + rest
    pairs = parse_qsl(parts.query, max_num_fields=None) + parse_qsl(parts.fragment)
    if any(name.lower().replace("-", "").replace("_", "") in _CREDENTIALS for name, _ in pairs):
        return LINK + rest
    return url


def _is_private(host: str) -> bool:
    if not host:
        return False  # as of file:///, which leads nowhere
    if "." not in host and ":" not in host:
        return True  # a name that only a private network resolves
    try:
        address = ip_address(host.split("%", 1)[0])
    except ValueError:
        return _PRIVATE_ENDING.search(host.rstrip(".")) is not None
    return not address.is_global


def _address(found: re.Match[str]) -> str:
    """A private address is masked; a public one, or what only looks like one, is not."""
    host = next((group for group in found.groups() if group), "")
    try:
        address = ip_address(host)
    except ValueError:
        return found[0]
    if host == "::" or address.is_global:
        return found[0]
    return HOST
