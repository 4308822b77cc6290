"""``GET /images/{name}`` over a real socket: the image, its headers, and nothing else."""

from __future__ import annotations

import io

import pytest

from gateway.endpoints.image_files import kept_image_routes
from gateway.server.dispatch import Dispatch

IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 1000


class Kept:
    """An image that is read from memory."""

    size = len(IMAGE)
    content_type = "image/png"
    open = 0

    def __init__(self) -> None:
        Kept.open += 1
        self._file = io.BytesIO(IMAGE)

    async def read(self, most: int) -> bytes:
        return self._file.read(min(most, 1000))

    def close(self) -> None:
        Kept.open -= 1


@pytest.fixture
async def client(serve, connect):
    """A client of a front door that keeps one image. ``client.asked``: the names that were looked for."""
    asked: list[str] = []

    async def opened(name: str) -> Kept | None:
        asked.append(name)
        return Kept() if name == "kept.png" else None

    def crashed(request_id: str, error: Exception) -> None:
        print(f"{request_id}: {error!r}")

    client = await connect(await serve(Dispatch(kept_image_routes(opened), [], crashed)))
    client.asked = asked
    return client


async def test_a_kept_image_is_served_without_a_key(client):
    answer = await client.request("GET", "/images/kept.png")
    assert (answer.status, answer.body) == (200, IMAGE)
    assert answer.header("content-type") == "image/png"
    assert answer.header("content-length") == str(len(IMAGE))
    assert answer.header("cache-control") == "private, max-age=3600, immutable"


async def test_a_browser_is_told_to_run_nothing_of_it(client):
    answer = await client.request("GET", "/images/kept.png")
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("content-security-policy") == "default-src 'none'; sandbox"
    assert answer.header("content-disposition") == 'inline; filename="image.png"'
    assert answer.header("cross-origin-resource-policy") == "cross-origin"
    assert answer.header("referrer-policy") == "no-referrer"


@pytest.mark.parametrize("spans", ["bytes=0-0", "bytes=" + ",".join(f"{at}-" for at in range(1500)), "bytes=-1", "x"])
async def test_a_range_costs_no_more_than_the_image(client, spans):
    answer = await client.request("GET", "/images/kept.png", b"", f"Range: {spans}")
    assert (answer.status, answer.body) == (200, IMAGE)
    assert answer.header("content-range") is None


@pytest.mark.parametrize(
    "ranges",
    ["bytes=0-1", "bytes=" + ",".join(f"{at}-" for at in range(4000)), "bytes=-1,-1", "bytes=9-0", "x=" + "," * 20_000],
)
async def test_ranges_are_not_looked_at(client, ranges):
    """A file is sent whole: thousands of ranges took Starlette minutes to put in order (CVE-2025-62727)."""
    answer = await client.request("GET", "/images/kept.png", b"", f"Range: {ranges}", "If-Range: x")
    assert (answer.status, answer.body) == (200, IMAGE)
    assert answer.header("accept-ranges") is None
    assert answer.header("content-range") is None


async def test_a_hundred_thousand_ranges_are_too_long_a_head(client):
    await client.ask(method="GET", target="/images/kept.png", headers={"range": "bytes=" + "0-1," * 100_000})
    assert (await client.answer()).status == 431


async def test_head_tells_the_same_without_the_image(client):
    head = await client.request("HEAD", "/images/kept.png")
    assert (head.status, head.body) == (200, b"")
    assert head.header("content-type") == "image/png"
    assert head.header("content-length") == str(len(IMAGE))
    assert (await client.request("GET", "/images/kept.png")).body == IMAGE  # the connection is still in step


@pytest.mark.parametrize("name", ["gone.png", "..%2fkept.png", "%2e%2e", "kept.png%00", "kept.png%0d%0a", "%ff"])
async def test_any_other_name_is_not_found_and_not_repeated(client, name):
    answer = await client.request("GET", f"/images/{name}")
    assert answer.status == 404
    error = answer.error()
    assert (error["type"], error["param"]) == ("invalid_request_error", None)
    assert "kept.png" not in error["message"] or error["code"] == "unknown_url"


async def test_an_image_that_is_gone_has_a_code_of_its_own(client):
    answer = await client.request("GET", "/images/gone.png")
    assert answer.error()["code"] == "image_not_found"
    assert (await client.request("HEAD", "/images/gone.png")).status == 404
    assert client.asked == ["gone.png", "gone.png"]


@pytest.mark.parametrize(
    "path", ["/images", "/images/", "/images/a/kept.png", "/images/a%2Fkept.png", "/Images/kept.png"]
)
async def test_only_names_right_below_are_looked_for(client, path):
    answer = await client.request("GET", path)
    assert answer.status == 404
    assert answer.error()["code"] == "unknown_url"
    assert client.asked == []


async def test_an_image_can_only_be_read(client):
    answer = await client.request("DELETE", "/images/kept.png")
    assert answer.status == 405
    assert answer.error()["code"] == "method_not_allowed"
    assert set((answer.header("allow") or "").split(", ")) == {"GET", "HEAD"}
    assert client.asked == []


async def test_whatever_is_read_is_closed_again(client):
    await client.request("HEAD", "/images/kept.png")
    await client.request("GET", "/images/kept.png")
    assert Kept.open == 0
