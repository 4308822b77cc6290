"""The table of docs/admin-api.md names every route of the admin listener, and no other."""

from __future__ import annotations

import re
from typing import Any, cast

from gateway.endpoints.admin.routes import AdminSource, admin_routes

from .written import first_cells, pages

ROUTE = re.compile(r"(GET|POST|PATCH|PUT|DELETE) (/\S+)")


def served() -> set[str]:
    """Method and path of every route; HEAD goes with GET."""
    routes = admin_routes(cast("AdminSource", _Anything()))
    return {f"{method} {route.path}" for route in routes for method in (route.methods or ()) if method != "HEAD"}


class _Anything:
    """Stands for all that the routes ask only once they are asked themselves."""

    def __getattr__(self, name: str) -> Any:
        return None


def test_the_page_names_the_routes_there_are() -> None:
    cells = first_cells(pages()["docs/admin-api.md"])
    assert {cell for cell in cells if ROUTE.fullmatch(cell)} == served()
