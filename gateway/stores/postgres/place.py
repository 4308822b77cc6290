"""Where a PostgreSQL store is: its URL, and the name that errors call it by, which holds no secret."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from gateway.core.errors import StoreError

SCHEMES = ("postgresql", "postgres")


def is_postgres(url: str) -> bool:
    """Whether the URL names a PostgreSQL."""
    return url.split("://", 1)[0] in SCHEMES


def store_name(url: str) -> str:
    """``postgresql://host:port/database``, without user, password and options. Raises StoreError for another form."""
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        raise StoreError("store: this is no URL. Write postgresql://user:password@host:5432/database.") from None
    if parts.scheme not in SCHEMES:
        raise StoreError("store: this is not of the form postgresql://user:password@host:5432/database.")
    return f"postgresql://{parts.hostname or 'localhost'}{port}/{unquote(parts.path.lstrip('/'))}"
