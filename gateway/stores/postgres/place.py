"""Where a PostgreSQL store is: its URL, and the name that errors call it by, which holds no secret."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from gateway.core.errors import StoreError

SCHEMES = ("postgresql", "postgres")

_NO_URL = (
    "store: this is no URL. Write postgresql://user:password@host:5432/database, and in the user and the password "
    "'%2F' for '/', '%23' for '#', '%3F' for '?', '%40' for '@'."
)


def is_postgres(url: str) -> bool:
    """Whether the URL names a PostgreSQL."""
    return url.split("://", 1)[0] in SCHEMES


def store_name(url: str) -> str:
    """``postgresql://host:port/database``, without user, password and options. Raises StoreError for another form."""
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        raise StoreError(_NO_URL) from None
    if "@" in parts.path or parts.fragment or ("@" in parts.query and "=" not in parts.query.partition("@")[0]):
        raise StoreError(_NO_URL)  # a password with a '/', '#' or '?' in it that is not escaped
    if parts.scheme not in SCHEMES:
        raise StoreError("store: this is not of the form postgresql://user:password@host:5432/database.")
    return f"postgresql://{parts.hostname or 'localhost'}{port}/{unquote(parts.path.lstrip('/'))}"
