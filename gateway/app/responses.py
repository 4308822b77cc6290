"""The Responses API of a running gateway: the answers that it keeps, and its routes."""

from __future__ import annotations

from gateway.endpoints.admission import Admission
from gateway.endpoints.chat import ChatOrders
from gateway.endpoints.images import EDITS, GENERATIONS, ImagesEndpoint
from gateway.endpoints.responses.background import Background
from gateway.endpoints.responses.compact import COMPACT_PATH, CompactResponse
from gateway.endpoints.responses.count import COUNT_PATH, CountInputTokens
from gateway.endpoints.responses.create import CreateResponse
from gateway.endpoints.responses.desk import ResponsesDesk
from gateway.endpoints.responses.pictures import Pictures
from gateway.endpoints.responses.relay import ResponsesRelay
from gateway.endpoints.responses.running import Running
from gateway.endpoints.responses.stored import StoredResponses
from gateway.exchange.services import Services
from gateway.jobs.waiting import Waiting
from gateway.responses.kept import KeptResponses
from gateway.responses.places import ResponsePlaces
from gateway.responses.shared import SharedResponses
from gateway.server.dispatch import OwnRoutes
from gateway.stores.base import Store
from gateway.wire.responses.request import RESPONSES_PATH


def build_responses(services: Services, store: Store) -> KeptResponses:
    """The answers that are kept."""
    log, tasks, fleet = services.log, services.tasks, store.fleet
    shared = None if fleet is None else SharedResponses(fleet, store.gateways, services.shared, log, tasks)
    return KeptResponses(store.responses, services.clock, log, tasks, services, shared)


def build_places(services: Services, store: Store) -> ResponsePlaces:
    """Where upstreams keep what they answered."""
    leases = None if store.fleet is None else store.fleet.leases
    return ResponsePlaces(store.response_places, services.clock, services.log, services.tasks, services, leases)


def age_out(services: Services, kept: KeptResponses, places: ResponsePlaces) -> None:
    """Begin to let go of what is too old, or too much."""
    services.tasks.spawn(kept.watch(), "responses-age-out")
    services.tasks.spawn(places.watch(), "response-places-age-out")


def response_routes(admission: Admission, kept: KeptResponses, places: ResponsePlaces, waiting: Waiting) -> OwnRoutes:
    """All routes."""
    desk = ResponsesDesk(admission, ChatOrders(admission), kept)
    make, change = (ImagesEndpoint(admission, path, waiting) for path in (GENERATIONS, EDITS))
    pictures = Pictures(admission, make, change, waiting.jobs.keeping.now)
    running, relay = Running(), ResponsesRelay(admission, places)
    if kept.fleet is not None:
        kept.fleet.serve(running.ids, running.heed)
    background = Background(admission.services, running)
    return {
        RESPONSES_PATH: {"POST": CreateResponse(desk, background, pictures, relay, running, waiting)},
        COMPACT_PATH: {"POST": CompactResponse(desk, relay)},
        COUNT_PATH: {"POST": CountInputTokens(desk, relay)},
        **StoredResponses(desk, running, relay).routes,
    }
