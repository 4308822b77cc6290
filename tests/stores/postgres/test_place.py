"""What a PostgreSQL store is called where people and logs may read it."""

from __future__ import annotations

import pytest

from gateway.core.errors import StoreError
from gateway.stores.postgres.place import store_name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://u:secret@db:5432/books", "postgresql://db:5432/books"),
        ("postgres://u:se%2Fcret%40@db/books?sslmode=require", "postgresql://db/books"),
        ("postgresql:///books?host=/run/postgresql&user=u&password=se@cret", "postgresql://localhost/books"),
        ("postgresql://db/a%40b", "postgresql://db/a@b"),
    ],
)
def test_it_is_told_without_its_secrets(url: str, name: str) -> None:
    assert store_name(url) == name


@pytest.mark.parametrize("password", ["1234/secret", "1234#secret", "1234?secret", "se/cret", "se#cret"])
def test_a_password_that_is_not_escaped_is_not_told_either(password: str) -> None:
    with pytest.raises(StoreError, match="%2F") as refused:
        store_name(f"postgresql://u:{password}@db/books")
    assert "cret" not in str(refused.value)
    assert "1234" not in str(refused.value)
