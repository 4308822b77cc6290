"""Images asked for, a Flux task bought: PiAPI's task API behind OpenAI's image routes.

The task's id is in the ledger before anything else happens, so that work that is paid for is never lost; from then on
nothing is bought again, however often a question after the task fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from gateway.core.errors import ResultUnavailable
from gateway.core.images.flux import FluxOrder, Webhook, task_body
from gateway.core.images.types import ImageFacts, MadeImage
from gateway.core.types import Outcome, Phase, Usage
from gateway.translate.commands import Conversing, Record
from gateway.translate.context import AttemptContext
from gateway.translate.presenting import Presenter, Telling
from gateway.translate.task_polling import TaskPolling, failure_words, stated_cost
from gateway.wire.task_answer import TaskState

_OK = Outcome("ok", Phase.FORWARDED, 200)

_REFUSED = re.compile(
    r"moderat(?:ion|ed)|nsfw|content[ _-]?polic(?:y|ies)|(?<!case[ _-])\bsensitive|敏感|违规|审核", re.I
)
_LIMITED = re.compile(r"too[ _]many[ _]requests|rate[ _-]?limit", re.I)
"""A failed task has no code to tell these by, only words: its ``error.code`` is 10000 for nearly everything."""


class ImagesToTask:
    """One attempt at one task.

    ``n``: images this task is to make, at most ``order.batch``. ``points_per_usd``: of the upstream's own billing.
    ``jitter``: a number in [0, 1), a new one each time.
    ``webhook``: where the upstream reports the end, which hurries the next question; None if it cannot.
    """

    def __init__(
        self,
        order: FluxOrder,
        context: AttemptContext,
        *,
        n: int,
        presenter: Presenter,
        points_per_usd: int,
        jitter: Callable[[], float],
        webhook: Webhook | None,
    ) -> None:
        self._order = order
        self._context = context
        self._n = n
        self._presenter = presenter
        self._points_per_usd = points_per_usd
        self._webhook = webhook
        wakeup = webhook.wakeup if webhook is not None else None
        self._polling = TaskPolling(context, jitter=jitter, wakeup=wakeup)
        self.made_images: tuple[MadeImage, ...] = ()
        self.facts = ImageFacts(size=order.size)
        self.images = 0
        self.progress = 0
        self.usage: Usage | None = None
        self.answer: bytes | None = None
        self.quality: str | None = None
        self.size: str | None = order.size
        self.stated_cost: int | None = None
        self.task_id: str | None = None
        self.note: str | None = None

    @property
    def delivered(self) -> int:
        """Images that were handed over."""
        return min(len(self.made_images), self.images)

    def estimate(self) -> Usage:
        """The images asked for: a task is sold by them."""
        return Usage(images=self._n, confidence="estimated")

    def converse(self) -> Conversing:
        """Create, ask until it has ended, deliver."""
        created = yield from self._polling.create(task_body(self._order, self._n, self._webhook))
        if isinstance(created, Outcome):
            return created
        self.task_id = created.task_id
        yield Record(created.task_id)
        state = created.state
        if state.status == "running":
            state = yield from self._polling.until_ended(created.task_id, self._tell)
        if state.status == "failed":
            return self._failed(state)
        self.stated_cost = stated_cost(state.points, self._points_per_usd, self._context.target, self._n)
        self.images = min(len(state.images), self._n)  # what is charged for; delivered are all
        self.progress += self.images
        if not state.images:
            message = failure_words(state, self._context)
            detail = "the task is done without an image"
            return Outcome("empty_response", Phase.ANSWERED, 200, message=message, detail=detail)
        try:
            self.made_images = yield from self._presenter.deliver(state.images, self.facts, self._n)
        except ResultUnavailable as missing:
            return Outcome("asset_unavailable", Phase.ANSWERED, 200, detail=str(missing))
        return _OK

    def _tell(self) -> Telling:
        yield from self._presenter.progress("processing")

    def _failed(self, state: TaskState) -> Outcome:
        """PiAPI does not charge for tasks that failed, so whatever the reason, nothing was bought.

        Its words are for the client alone: they may quote the prompt, which is not for the log. An operator finds them
        where the task is read by its id.
        """
        message = failure_words(state, self._context)
        said = state.error or ""
        slug = "content_policy" if _REFUSED.search(said) else "rate_limited" if _LIMITED.search(said) else "task_failed"
        detail = "the task failed" if message else "the task failed and did not say why"
        return Outcome(slug, Phase.REJECTED, 200, message=message, detail=detail)
