"""The key that a request sends: in ``Authorization``, ``X-API-Key`` or ``api-key``, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.errors import ClientError
from gateway.server.request import Request

_HEADERS = frozenset((b"authorization", b"x-api-key", b"api-key"))


@dataclass(frozen=True, slots=True)
class SentKey:
    """``bearer``: the token of ``Authorization: Bearer``; ``value``: it or, without it, what the other headers have.
    Empty for none.

    ``ambiguous``: a header of a kind came twice, or two headers hold different keys.
    """

    bearer: bytes
    value: bytes
    ambiguous: bool


def sent_key(request: Request) -> SentKey:
    """The key among a request's headers.

    An empty header names no key: an SDK that was given none sends it, beside the header with the real one. Another
    scheme, such as ``Basic`` for a proxy on the way, names none either.
    """
    fields = request.fields
    bearer = _bearer_token(fields.get(b"authorization", b""))
    own = fields[b"x-api-key"].strip() if b"x-api-key" in fields else b""
    azure = fields[b"api-key"].strip() if b"api-key" in fields else b""
    value = bearer or own or azure
    ambiguous = bool((own and own != value) or (azure and azure != value))
    for name, _ in request.repeated:
        ambiguous = ambiguous or name in _HEADERS
    return SentKey(bearer, value, ambiguous)


def ambiguous_key() -> ClientError:
    """400: it is not sure which key counts, and a proxy on the way may think of another than the gateway.

    The same for every such request, also for one whose keys are good, and before any of them is looked at.
    """
    return ClientError(
        400,
        "invalid_request_error",
        "ambiguous_api_key",
        "More than one API key was sent. Send one: as 'Authorization: Bearer <key>', 'x-api-key' or 'api-key', once, "
        "or the same key in each.",
    )


def _bearer_token(value: bytes) -> bytes:
    """The token of ``Bearer <token>``, the scheme in any case (RFC 9110 §11.1); empty for another scheme."""
    return value[7:].strip() if value[:7].lower() == b"bearer " else b""
