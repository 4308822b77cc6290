"""The conversation of an image client with PiAPI's asynchronous GPT-image routes: an order that is answered with an id
at once, and asked after like a task.

No connection is held while the picture is made, so no wall can cut it. As with tasks the id is in the ledger before
anything else happens, and from then on nothing is bought again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway.core.billing_terms import Terms
from gateway.core.errors import ResultUnavailable
from gateway.core.images.task_order import TaskWebhook
from gateway.core.images.types import ImageFacts, ImagesRequest, MadeImage
from gateway.core.pricing.picture_tokens import bounded_usage
from gateway.core.types import Outcome, Phase, Usage
from gateway.translate.commands import ConversationState, Conversing, Record
from gateway.translate.context import AttemptContext
from gateway.translate.image_stream import VARIATION_PROMPT
from gateway.translate.presenting import Emitting, Presenter
from gateway.translate.task_polling import TaskPolling, empty_task, failed_task, stated_cost
from gateway.wire.images_answer import facts_in, usage_in
from gateway.wire.images_async_order import async_order
from gateway.wire.task_answer import TaskState

_OK = Outcome("ok", Phase.FORWARDED, 200)


class ImagesToAsync(ConversationState):
    """One attempt at one picture.

    ``points_per_usd``: of the upstream's own billing.
    ``jitter``: a number in [0, 1), a new one each time.
    ``webhook``: where the upstream reports the end, which brings the next poll forward; None if it cannot.
    ``made``: the task, if there is one already: then none is created, and its end is asked for.
    """

    def __init__(
        self,
        request: ImagesRequest,
        context: AttemptContext,
        *,
        presenter: Presenter,
        points_per_usd: int,
        jitter: Callable[[], float],
        webhook: TaskWebhook | None,
    ) -> None:
        self.made: str | None = None
        self._request = request
        self._context = context
        self._presenter = presenter
        self._points_per_usd = points_per_usd
        self._prompt = request.prompt or VARIATION_PROMPT
        self._sources = len(request.images) + (request.mask is not None)
        self._webhook = webhook
        wakeup = webhook.wakeup if webhook is not None else None
        self._polling = TaskPolling(context, jitter=jitter, wakeup=wakeup)
        self.made_images: tuple[MadeImage, ...] = ()
        self.facts = ImageFacts()
        self.images = 0

    @property
    def delivered(self) -> int:
        """Images that were handed over."""
        return min(len(self.made_images), self.images)

    @property
    def terms(self) -> Terms:
        """What drew an SVG is another model, whose tokens are told beside the usage."""
        return Terms(unpriced=bool(self.facts.others.get("svg_usage")))

    def estimate(self) -> Usage:
        """What the picture takes at most, for a bill that the upstream does not tell."""
        return bounded_usage(
            self._context.target.price,
            1,
            quality=self.quality,
            size=self.size,
            prompt_bytes=len(self._prompt.encode("utf-8", "replace")),
            sources=self._sources,
        )

    def converse(self) -> Conversing:
        """Order the picture, ask until it is there, deliver it."""
        if self.made is not None:
            self.task_id, self.size, self.quality = self.made, self._request.size, self._request.quality
            self.facts = ImageFacts(size=self.size, quality=self.quality)
            state = yield from self._polling.until_ended(self.made, self._tell, at_once=True)
            return (yield from self._deliver(state))
        order = async_order(self._request, self._context.target.model, prompt=self._prompt, webhook=self._webhook)
        self.size, self.quality = order.size, order.quality
        self.facts = ImageFacts(size=order.size, quality=order.quality)
        if self._request.partial_images:
            self.note = "ignored: partial_images"
        created = yield from self._polling.create(order.body, order.path)
        if isinstance(created, Outcome):
            return created
        if created.task_id:
            self.task_id = created.task_id
            yield Record(created.task_id)
        state = created.state
        if state.status == "running":
            state = yield from self._polling.until_ended(created.task_id, self._tell)
        return (yield from self._deliver(state))

    def _deliver(self, state: TaskState) -> Conversing:
        """Deliver what the order came to."""
        if state.status == "failed":
            return failed_task(state, self._context)
        self._account_for(state)
        if not state.images:
            return empty_task(state, self._context)
        try:
            self.made_images = yield from self._presenter.deliver(state.images, self.facts, 1)
        except ResultUnavailable as missing:
            return Outcome("asset_unavailable", Phase.ANSWERED, 200, detail=str(missing))
        return _OK

    def _account_for(self, state: TaskState) -> None:
        """Take note of what the picture cost and what it is, before it is delivered."""
        told = dict(state.told)
        stated = facts_in(told)
        self.facts = replace(
            self.facts,
            size=stated.size or self.facts.size,
            quality=stated.quality or self.facts.quality,
            background=stated.background,
            output_format=stated.output_format,
            others=state.others,
        )
        self.size, self.quality = self.facts.size, self.facts.quality
        self.stated_cost = stated_cost(state.points, self._points_per_usd, self._context.target, 1)
        self.images = min(len(state.images), 1)  # those charged for; all are delivered
        self.progress += self.images
        usage = usage_in(
            told, images_sent=self._sources, images_asked=1, prompt_bytes=len(self._prompt.encode("utf-8", "replace"))
        )
        if usage is not None:
            self.usage = replace(usage.usage, images=self.images)
            self.facts = replace(self.facts, usage=usage.document)

    def _tell(self) -> Emitting:
        yield from self._presenter.progress("processing")
