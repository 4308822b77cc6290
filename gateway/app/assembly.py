"""A configuration → the parts a running gateway shares. With gateway.py the only file that knows the concrete ones."""

from __future__ import annotations

import difflib
import itertools
import secrets
import traceback
from collections.abc import Callable, Sequence
from functools import partial

from gateway import __version__
from gateway.app.snapshots import Snapshots
from gateway.billing.alerts import AlertSender
from gateway.billing.budgets import BudgetService, BudgetSettings
from gateway.billing.ledger import LedgerService
from gateway.config import Config, budget, duration, list_price, list_prices, unlisted_price
from gateway.core.chance import Randomness
from gateway.core.limits.key_limits import KeyLimits
from gateway.core.limits.task_slots import TaskSlots
from gateway.core.pricing.budget_errors import Holder
from gateway.core.pricing.budgets import Budgets, BudgetState
from gateway.core.pricing.shared_budgets import SharedBudgets
from gateway.core.routing.route_table import RouteTable, UpstreamStates
from gateway.core.types import Price, Target, VirtualKey
from gateway.endpoints.images import PATHS as IMAGES
from gateway.endpoints.relays import RELAY_PATHS
from gateway.endpoints.responses.compact import COMPACT_PATH
from gateway.endpoints.task_status import TASK_STATUS_PATH as TASK
from gateway.endpoints.tasks import TASKS_PATH as TASKS
from gateway.exchange.services import Gate, Services
from gateway.exchange.tokenizer import Tokenizer
from gateway.images.results import ImageResults
from gateway.keys.fields import KeyRules
from gateway.keys.hashing import Pepper
from gateway.keys.keyring import Keyring
from gateway.keys.service import KeyListing, KeyService
from gateway.runtime.descriptors import lowered, raise_descriptor_limit, room_for
from gateway.runtime.ports import Clock
from gateway.runtime.tasks import TrackedTasks
from gateway.runtime.wakeups import Wakeups
from gateway.stores.base import Ledger, Store
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.recent_traffic import RecentTraffic
from gateway.telemetry.series import LabelSpace
from gateway.upstream.account import task_limit
from gateway.upstream.dialer import Dialer
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.task_limiter import TaskLimiter
from gateway.wire.chat_request import CHAT_PATH
from gateway.wire.messages.request import MESSAGES_PATH
from gateway.wire.responses.request import RESPONSES_PATH


def build_services(
    config: Config,
    log: Log,
    ledger: Ledger,
    images: ImageResults,
    keyring: Keyring,
    dialer: Dialer,
    clock: Clock,
    randomness: Randomness,
) -> tuple[Services, Snapshots]:
    """Everything that outlives a request, and what makes the snapshots of later configurations.

    Raises OperatorError for a secret of budget alerts that cannot be one.
    """
    descriptors, wanted = raise_descriptor_limit(), config.limits.in_flight
    most = room_for(wanted, descriptors)
    if sentence := lowered(wanted, descriptors):
        log.warning("limit_lowered", wanted=wanted, in_flight=most, descriptors=descriptors, message=sentence)
    tasks = TrackedTasks(partial(_task_failed, log))
    pool = ConnectionPool(dialer)
    metrics = Metrics(__version__, labels(config, keyring.keys), RecentTraffic(clock.monotonic))
    alerts = AlertSender(pool, clock, randomness, log, tasks)
    alerts.configure(config.budget_alerts.webhook, config.budget_alerts.secret, config.outward)
    tokenizer = Tokenizer(lambda error: log_crash(log, "task_failed", error, task="vocabulary"))
    snapshots = Snapshots(tokenizer, log, clock, randomness, images.open)

    def names_of(model: str) -> tuple[str, ...]:
        return services.snapshot.routes.names_of(model)

    budgets = BudgetService(
        (Budgets if ledger.budgets is None else SharedBudgets)(config.time_zone, clock.wall_ns(), names_of),
        budget_settings(config),
        keys=keyring,
        ledger=ledger,
        clock=clock,
        log=log,
        metrics=metrics,
        alerts=alerts,
    )
    services = Services(
        clock=clock,
        randomness=randomness,
        ledger=ledger,
        metrics=metrics,
        log=log,
        pool=pool,
        limits=KeyLimits(),
        tokenizer=tokenizer,
        tasks=tasks,
        gate=Gate(most),
        snapshot=snapshots.take(config, UpstreamStates(config.upstreams.values(), config.failover)),
        new_id=exchange_ids(clock),
        task_limiter=TaskLimiter(TaskSlots(), partial(task_limit, pool), tasks),
        wakeups=Wakeups(),
        budgets=budgets,
        images=images,
        learned=snapshots.learned,
    )
    return services, snapshots


def labels(config: Config, keys: Sequence[VirtualKey]) -> LabelSpace:
    """The values that metrics' labels may take. ``keys``: those of the file and of the store."""
    return LabelSpace(
        models=frozenset(route.model for route in config.routes),
        upstreams=frozenset(config.upstreams),
        endpoints=frozenset(place.url for upstream in config.upstreams.values() for place in upstream.endpoints),
        keys=frozenset(key.name for key in keys),
        teams=frozenset(config.teams) | {key.team for key in keys if key.team is not None},
        routes=frozenset({CHAT_PATH, *IMAGES, *RELAY_PATHS, TASKS, TASK, RESPONSES_PATH, COMPACT_PATH, MESSAGES_PATH}),
    )


def budget_settings(config: Config) -> BudgetSettings:
    """What this configuration says about budgets, beside those of the keys."""
    teams = {team.name: team.budget for team in config.teams.values() if team.budget is not None}
    alerts = {team.name: team.alert for team in config.teams.values() if team.alert}
    return BudgetSettings(teams, config.allow_unpriced, alerts, _suggested_price)


def _suggested_price(target: Target) -> Price | None:
    return unlisted_price(target.upstream, target.model)


def key_rules(config: Config) -> KeyRules:
    """What this configuration says about virtual keys."""
    return KeyRules(
        config.keys, frozenset(config.teams), config.time_zone, budget, duration, partial(_no_known_model, config)
    )


def _no_known_model(config: Config, pattern: str) -> str:
    """What is to be said of a key's pattern of models that matches none that is known; empty if it matches one."""
    known = [name for route in config.declared for name in (route.model, *route.aliases)]
    known += [name for models in list_prices().models.values() for name in models]
    begin = pattern.removesuffix("*")
    if pattern != begin:
        bare = begin.rpartition("/")[2].lower()
        matches = any(name.lower().startswith((begin.lower(), bare)) for name in known)
        matches = matches or any(bare.startswith(f"{name.lower().removesuffix('*')}-") for name in known)
    else:
        matches = RouteTable(config.declared).find(pattern) is not None or list_price(pattern) is not None
    if matches:
        return ""
    near = difflib.get_close_matches(begin, [name.removesuffix("*") for name in known], n=1)
    hint = f"did you mean '{near[0]}'?" if near else "'piapi-gateway models' shows the catalogue"
    return f"'{pattern}' matches no model that is known here, so it may be a slip; {hint}"


def build_key_service(
    rules: Callable[[], KeyRules], store: Store, keyring: Keyring, budgets: Budgets, clock: Clock
) -> KeyService:
    """What the admin API does with virtual keys. ``rules``: of the configuration in force."""

    def pepper() -> Pepper:
        return keyring.pepper

    def budget_of(holder: Holder) -> BudgetState | None:
        return budgets.state(holder, clock.wall_ns())

    return KeyService(
        KeyListing(store.keys, rules=rules, wall_ns=clock.wall_ns, budget=budget_of),
        store.keys,
        rules=rules,
        pepper=pepper,
        wall_ns=clock.wall_ns,
        apply=keyring.change,
    )


def build_ledger_service(store: Store, services: Services) -> LedgerService:
    """What the admin API does to the books."""
    return LedgerService(
        store,
        services.pool,
        services,
        wall_ns=services.clock.wall_ns,
        amount_held=services.budgets.budgets.amount_held,
        resolved=services.budgets.resolve,
        counted=store.ledger.budgets,
    )


def new_gateway_id() -> str:
    """The name of this gateway among all that share its store."""
    return f"gw_{secrets.token_hex(8)}"


def exchange_ids(clock: Clock) -> Callable[[], str]:
    """Twelve hex digits of milliseconds, ten that name this process, ten that count: unique without a system call
    each, and growing, which keeps the ledger's pages together.
    """
    process = secrets.token_hex(5)
    count = itertools.count(secrets.randbits(32))

    def next_id() -> str:
        return f"{clock.wall_ns() // 1_000_000:012x}{process}{next(count):010x}"

    return next_id


def _task_failed(log: Log, name: str, error: BaseException) -> None:
    log_crash(log, "task_failed", error, task=name)


def log_crash(log: Log, event: str, crash: BaseException, **fields: str) -> None:
    """A mistake of ours, with its traceback."""
    log.error(event, error=repr(crash), traceback="".join(traceback.format_exception(crash)), **fields)


def tell_of_crash(log: Log, request_id: str, crash: Exception) -> None:
    """The same, of a request: it was answered with ``internal_error``."""
    log_crash(log, "internal_error", crash, request_id=request_id)
