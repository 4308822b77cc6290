"""The conversation of an image client with PiAPI's task API: a task, of Flux or another model, behind OpenAI's
image routes.

The task's id is in the ledger before anything else happens, so that paid work is never lost; from then on nothing is
bought again, even if polling the task fails many times.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from gateway.core.errors import ResultUnavailable
from gateway.core.images.task_order import PictureTexts, TaskOrder, TaskWebhook, task_body
from gateway.core.images.types import ImageFacts, MadeImage
from gateway.core.json_weight import LONG
from gateway.core.types import Outcome, Phase, Usage
from gateway.translate.commands import ConversationState, Conversing, Offload, Record
from gateway.translate.context import AttemptContext
from gateway.translate.presenting import Emitting, Presenter
from gateway.translate.task_polling import TaskPolling, empty_task, failed_task, stated_cost
from gateway.wire.task_answer import TaskState

_OK = Outcome("ok", Phase.FORWARDED, 200)


class ImagesToTask(ConversationState):
    """One attempt at one task.

    ``n``: images this task is to make, at most ``order.batch``.
    ``points_per_usd``: of the upstream's own billing.
    ``jitter``: a number in [0, 1), a new one each time.
    ``pictures``: what stands in the task for each picture of the order.
    ``webhook``: where the upstream reports the end, which brings the next poll forward; None if it cannot.
    ``made``: the task, if there is one already: then none is created, and its end is asked for.
    """

    def __init__(
        self,
        order: TaskOrder,
        context: AttemptContext,
        *,
        n: int,
        presenter: Presenter,
        points_per_usd: int,
        jitter: Callable[[], float],
        webhook: TaskWebhook | None,
        pictures: PictureTexts = MappingProxyType({}),
    ) -> None:
        self._order = order
        self.made: str | None = None
        self._pictures = pictures
        self._context = context
        self._n = n
        self._presenter = presenter
        self._points_per_usd = points_per_usd
        self._webhook = webhook
        wakeup = webhook.wakeup if webhook is not None else None
        self._polling = TaskPolling(context, jitter=jitter, wakeup=wakeup, results=order.results)
        self.made_images: tuple[MadeImage, ...] = ()
        self.facts = ImageFacts(size=order.size)
        self.images = 0
        self.size = order.size
        self.note = order.note

    @property
    def delivered(self) -> int:
        """Images that were handed over."""
        return min(len(self.made_images), self.images)

    def estimate(self) -> Usage:
        """The images asked for, by which a task is sold."""
        return Usage(images=self._n, confidence="estimated")

    def converse(self) -> Conversing:
        """Create the task, poll it until it has ended, deliver its images."""
        if self.made is not None:
            self.task_id = self.made
            state = yield from self._polling.until_ended(self.made, self._tell, at_once=True)
            return (yield from self._deliver(state))
        if sum(map(len, self._pictures.values())) > LONG:
            yield Offload()
        created = yield from self._polling.create(task_body(self._order, self._n, self._webhook, self._pictures))
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
        """Deliver what the task came to."""
        if state.status == "failed":
            return failed_task(state, self._context)
        self.stated_cost = stated_cost(state.points, self._points_per_usd, self._context.target, self._n)
        self.images = min(len(state.images), self._n)  # those charged for; all are delivered
        self.progress += self.images
        if not state.images:
            return empty_task(state, self._context)
        try:
            self.made_images = yield from self._presenter.deliver(state.images, self.facts, self._n)
        except ResultUnavailable as missing:
            return Outcome("asset_unavailable", Phase.ANSWERED, 200, detail=str(missing))
        return _OK

    def _tell(self) -> Emitting:
        yield from self._presenter.progress("processing")
