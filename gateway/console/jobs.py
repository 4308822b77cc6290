"""Jobs: the paid work of all keys, and the pictures that it came to."""

from __future__ import annotations

from urllib.parse import urlencode

from gateway.console.pages import SECURITY, Answer, page
from gateway.console.pictures import Picture, Shown, shown_of
from gateway.console.source import ConsoleSource
from gateway.console.visitors import Visitor
from gateway.core.errors import ClientError, ResultUnavailable
from gateway.endpoints.admin.jobs import job_row
from gateway.jobs.job import Job
from gateway.runtime.off_loop import off_loop
from gateway.server.query import query_of
from gateway.server.request import Request
from gateway.stores.job_records import StoredJob
from gateway.wire.base64_text import decoded_base64
from gateway.wire.image_bytes import image_type
from gateway.wire.job_object import JobFacts

PAGE = 50

PIECE = 256 * 1024
"""Bytes of a kept picture that are read at a time."""


async def show(source: ConsoleSource, request: Request, visitor: Visitor) -> Answer:
    """``GET /console/jobs?key=&after=``, both optional."""
    query = query_of(request)
    key, after = query.get("key", "").strip(), query.get("after")
    found = await source.reading.of(lambda: _latest(source, after, key or None))
    shown = found[:PAGE]
    filters = {"key": key} if key else {}
    older = urlencode({**filters, "after": shown[-1].id}) if len(found) > PAGE else ""
    return await page(
        "jobs.html",
        visitor=visitor,
        rows=[job_row(one) for one in shown],
        key=key,
        older=older,
        newest=after is None,
    )


async def show_one(source: ConsoleSource, request: Request, visitor: Visitor) -> Answer:
    """``GET /console/jobs/{key}/{job_id}``: how it stands, and what it came to."""
    job, facts = await source.reading.of(lambda: _asked(source, request))
    return await page("job.html", visitor=visitor, job=job, facts=facts, shown=await _shown(facts))


async def show_picture(source: ConsoleSource, request: Request, visitor: Visitor) -> Answer:
    """``GET /console/jobs/{key}/{job_id}/pictures/{number}``, from 0 on: the bytes of a picture."""
    _, facts = await source.reading.of(lambda: _asked(source, request))
    pictures = (await _shown(facts)).pictures
    number = request.params["number"]
    if len(number) <= 2 and number.isascii() and number.isdigit() and int(number) < len(pictures):
        data = await _bytes(source, pictures[int(number)])
        if (kind := image_type(data)) is not None:
            headers = ((b"content-type", f"image/{kind}".encode("ascii")), (b"cache-control", b"no-store"))
            return Answer(200, (*SECURITY, *headers), data)
    raise ClientError(404, "invalid_request_error", "image_not_found", "There is no such picture here (any more).")


async def _latest(source: ConsoleSource, after: str | None, key: str | None) -> list[StoredJob]:
    return list(await source.job_records.latest(PAGE + 1, after, key))


async def _asked(source: ConsoleSource, request: Request) -> tuple[Job, JobFacts]:
    job = await source.waiting.jobs.find(request.params["key"], request.params["job_id"])
    if job is None or not job.exchange:
        raise ClientError(404, "invalid_request_error", "job_not_found", "There is no such job here (any more).")
    return job, await source.waiting.telling.facts(job)


async def _shown(facts: JobFacts) -> Shown:
    return Shown() if facts.result is None else await off_loop(shown_of, facts.result)


async def _bytes(source: ConsoleSource, picture: Picture) -> bytes:
    """Empty for what cannot be had (any more). The page itself refers to no other host: what is elsewhere is fetched as
    upstreams' results are, never from this network.
    """
    if picture.encoded:
        return await off_loop(_decoded, picture.encoded)
    if picture.name and (kept := await source.images.open(picture.name)) is not None:
        pieces = []
        try:
            while piece := await kept.read(PIECE):
                pieces.append(piece)
        finally:
            kept.close()
        return b"".join(pieces)
    try:
        return await source.images.fetch(picture.link, source.images.allowance())
    except ResultUnavailable:
        return b""


def _decoded(encoded: str) -> bytes:
    try:
        return decoded_base64(encoded.rpartition(",")[2])
    except ValueError:
        return b""
