"""An order for images whose answer is made after a restart: what is remembered of it, and the conversations that bring
what was bought. Neither the prompt nor a picture is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from gateway.core.images.task_model import order_name
from gateway.core.images.task_order import TaskOrder
from gateway.core.images.types import ImagesRequest, SourceImage
from gateway.core.routing.durations import ANY_SHAPE
from gateway.core.types import Endpoint, Target
from gateway.images.operation import ImageConversation, ImageOperation, ImageTools
from gateway.images.resumed_apis import ResumedAnswer
from gateway.translate.images_to_async import ImagesToAsync
from gateway.translate.images_to_task import ImagesToTask
from gateway.translate.present_chat import ChatPresenter
from gateway.translate.present_images import ImagesPresenter
from gateway.translate.presenting import Presenter
from gateway.translate.translated_chat import TranslatedConversation

Brings = ImageConversation | TranslatedConversation
"""What brings pictures: for a chat or an Images API, or for another API around it."""

_REMEMBERED_OPTIONS = ("output_format", "svg")
"""The options that tell what the pictures in an answer are."""


def remembered(operation: ImageOperation, host: str | None, api: Mapping[str, Any] | None = None) -> bytes:
    """JSON with what an answer needs. ``host``: that the client asked by. ``api``: what is remembered of an answer of
    another API (resumed_apis.py); None for one of OpenAI's own routes.
    """
    request = operation.request
    tasks = operation.parts[0].shared.tasks
    return orjson.dumps(
        {
            "presenter": "chat" if isinstance(operation.presenter, ChatPresenter) else "images",
            "made_with": operation.presenter.described,
            "kind": request.kind,
            "model": request.model,
            "stream": request.stream,
            "size": request.size,
            "quality": request.quality,
            "options": {name: request.options[name] for name in _REMEMBERED_OPTIONS if name in request.options},
            "prompt_bytes": len(request.prompt.encode("utf-8", "replace")),
            "sources": len(request.images) + (request.mask is not None),
            "images": max(part.images for part in operation.parts),
            "tasks": {name: [order.size, order.results] for name, order in tasks.items()},
            "host": host,
            "api": api,
        }
    )


@dataclass(frozen=True, slots=True)
class ResumedOrder:
    """What was remembered. ``host``: that the client asked by. ``operation``: makes the answer of what was brought;
    ``answer``: the same in the words of another API.
    """

    operation: ImageOperation
    tools: ImageTools
    host: str | None
    images: int
    tasks: Mapping[str, Any]
    answer: ResumedAnswer | None = None

    @classmethod
    def read(cls, order: bytes, route: str, tools: ImageTools) -> ResumedOrder:
        """Raises ValueError, KeyError, TypeError for what no gateway has remembered."""
        known = orjson.loads(order)
        request = ImagesRequest(
            kind=known["kind"],
            model=known["model"],
            prompt="?" * known["prompt_bytes"],
            size=known["size"],
            quality=known["quality"],
            stream=known["stream"],
            images=(SourceImage(),) * known["sources"],
            options=known["options"],
        )
        presenter: Presenter
        if known["presenter"] == "chat":
            presenter = ChatPresenter(**known["made_with"])
        else:
            presenter = ImagesPresenter(request, **known["made_with"])
        operation = ImageOperation(route, request, presenter, ())
        api = known.get("api")
        answer = None if api is None else ResumedAnswer(api)
        return cls(operation, tools, known["host"], known["images"], known["tasks"], answer)

    def conclude(self, served: Sequence[Brings], charge: Callable[[], str | None]) -> bytes | None:
        """The answer of the pictures that were brought, as ``ImageOperation.conclude`` makes it."""
        made = self.operation.conclude([_inner(one) for one in served], charge)
        if self.answer is None or not isinstance(first := served[0], TranslatedConversation):
            return made
        return self.answer.of(made, first, charge(), stream=self.operation.stream)

    def conversation(self, task_id: str, target: Target, endpoint: Endpoint) -> Brings:
        """What brings the pictures of a task that was made."""
        made = self._conversation(target, endpoint)
        made.made = task_id
        return made if self.answer is None else self.answer.around(made, stream=self.operation.stream)

    def _conversation(self, target: Target, endpoint: Endpoint) -> ImagesToAsync | ImagesToTask:
        tools, presenter = self.tools, self.operation.presenter
        context = tools.context(target, endpoint, ANY_SHAPE)
        made: ImagesToAsync | ImagesToTask
        if target.operation == "images_async":
            made = ImagesToAsync(
                self.operation.request,
                context,
                presenter=presenter,
                points_per_usd=tools.points_per_usd,
                jitter=tools.jitter,
                webhook=None,
            )
        else:
            size, results = self.tasks.get(order_name(target), (None, ()))
            made = ImagesToTask(
                TaskOrder(target.model, "", {}, size=size, results=tuple(results)),
                context,
                n=self.images,
                presenter=presenter,
                points_per_usd=tools.points_per_usd,
                jitter=tools.jitter,
                webhook=None,
            )
        return made


def _inner(one: Brings) -> ImageConversation:
    """What brings the pictures, without another API around it."""
    return cast("ImageConversation", one.inner) if isinstance(one, TranslatedConversation) else one
