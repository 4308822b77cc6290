"""What a request asks behind the question mark."""

from __future__ import annotations

from urllib.parse import parse_qs

from gateway.server.request import Request


def query_of(request: Request) -> dict[str, str]:
    """The fields of the query; of several with one name the last."""
    return {name: values[-1] for name, values in parse_qs(request.query.decode("latin-1")).items()}
