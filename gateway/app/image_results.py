"""What a configuration says about images that are fetched and kept, told to the part that does it, and to the log."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from gateway.config import Config
from gateway.images.kept import KeptImages
from gateway.images.results import ImageResults
from gateway.runtime.ports import Clock
from gateway.server.listener import RunningServer
from gateway.telemetry.log import Log
from gateway.upstream.address_guard import ANY_HOST, Surroundings
from gateway.upstream.result_fetch import ResultFetcher


def build_image_results(config: Config, clock: Clock) -> ImageResults:
    """The fetching and the keeping of images. ``surroundings`` are to follow before it serves."""
    images = config.images
    return ImageResults(
        ResultFetcher(images.fetch_hosts, images.fetch_private, options=config.outward),
        KeptImages(images.dir, images.keep, images.keep_max, clock),
        images.public_url.rstrip("/"),
    )


def surroundings(config: Config, servers: Sequence[RunningServer]) -> Surroundings:
    """The places that no link may make the gateway ask: its own listeners, its names, its upstreams."""
    named = (*config.hosts, *(server.host for server in servers), urlsplit(config.images.public_url).hostname or "")
    return Surroundings(
        ports=frozenset(server.port for server in servers),
        names=frozenset(named) - {""},
        upstreams=frozenset(place.host for one in config.upstreams.values() for place in one.endpoints),
    )


def tell_of_fetching(config: Config, log: Log) -> None:
    """Say at the start from where images are fetched."""
    images = config.images
    any_host = ANY_HOST in images.fetch_hosts
    log.info(
        "images_fetched_from",
        hosts=list(images.fetch_hosts),
        private=images.fetch_private,
        message="every public host, the default; a narrower images.fetch_hosts still works"
        if any_host
        else "the hosts of images.fetch_hosts only; of images elsewhere clients get the link",
    )
