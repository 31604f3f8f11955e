"""The parts of one api process: their wiring, start and stop."""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import asyncpg
from quart import current_app

from api.accounting.arrivals import ArrivalRates
from api.accounting.budget import Budget
from api.accounting.usage_backlog import UsageBacklog
from api.accounting.usage_log import UsageLogWriter
from api.admission.auth import Authenticator
from api.admission.key_changes import CHANGED, REVOKED, KeyChanges
from api.prompt.additions import Additions
from api.prompt.admin_context import AdminContext
from api.prompt.knowledge.base import Knowledge
from api.prompt.knowledge.embedder import NEWS as KNOWLEDGE_NEWS
from api.prompt.knowledge.embedder import ProcessParts
from api.prompt.responses.state import ResponseState
from api.prompt.sessions.sessions import Sessions
from api.prompt.survey import Survey
from api.prompt.system_prompts import SystemPrompts
from api.prompt.titles import Titles
from api.relay.receiver import RelayReceiver
from api.requests import own
from api.requests.background.supervisor import Supervisor
from api.requests.open_requests import OpenRequests
from api.requests.services import RequestServices
from api.routing.live_backends import Capacity
from api.routing.router import Router
from api.routing.rules import RoutingTable
from shared.postgres.audit import AuditLog
from shared.postgres.database import Database, DatabaseUnavailable, SchemaError
from shared.postgres.keys import KeyStore
from shared.process.finished import log_finished
from shared.process.tasks import end_all, spawn_critical
from shared.redis import client as redis_client
from shared.redis.names import BACKGROUND_NEWS, CANCEL_NEWS, DESCRIBE_NEWS, PAUSED_NEWS, RESPONSE_NEWS
from shared.relay import ID_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from api.requests.own_request import OwnRequest, OwnVectors
    from shared.settings import Settings
    from shared.usage import Finished

_log = logging.getLogger(__name__)

EXTENSION: Final = "claw"
"""The name under which an app keeps its gateway."""
MIGRATE_RETRY_S: Final = 1.0
SCHEMA_UNCHECKED: Final = "The schema has not been checked yet."


class Gateway:
    """One api process. Nothing happens before `start`.

    Args:
        settings: what is configured.
        finished: told of each request that this process closes.
    """

    def __init__(self, settings: Settings, finished: Finished = log_finished) -> None:
        self.settings, self.api_id = settings, os.urandom(ID_SIZE)
        self.redis = redis_client.connect(settings.redis_url or "", is_piped=settings.redis_pipe)
        self.database = Database(settings.database_url or "")
        self.keys = KeyStore(self.database)
        self.key_changes = KeyChanges(self.keys, self.redis)
        self.authenticator = Authenticator(settings, self.keys, self.key_changes.went_back)
        self.capacity = Capacity(self.redis)
        self.routing_table = RoutingTable(self.database, self.redis)
        self.router = Router(self.capacity, settings, self.routing_table)
        self.budget = Budget(settings.monthly_budget_usd, self.database, self.redis)
        self.usage_backlog = UsageBacklog(self.redis, settings.max_usage_records)
        self.usage_log = UsageLogWriter(self.redis, self.api_id.hex(), lambda: self.usage_backlog.is_full, finished)
        self.relay = RelayReceiver(
            settings,
            self.redis,
            self.api_id,
            on_news=self._handle_news,
            load_of=self.capacity.load,
            fault_of=lambda: self.capacity.redis_fault,
        )
        self.system_prompts = SystemPrompts(self.database)
        self.knowledge = Knowledge(
            self.database, ProcessParts(settings, self.redis, self.api_id.hex(), self.capacity, self._embed)
        )
        self.admin_context = AdminContext(
            Survey(
                settings,
                database=self.database,
                redis=self.redis,
                capacity=self.capacity,
                routing_table=self.routing_table,
                budget=self.budget,
            ),
            self.redis,
        )
        self.additions = Additions(
            self.system_prompts,
            self.admin_context,
            AuditLog(self.database),
            knowledge=self.knowledge,
            knowledge_tokens=settings.knowledge_tokens,
        )
        self.sessions = Sessions(settings, self.redis, self.database, self.spawn)
        self.responses = ResponseState(settings, self.redis, self.database, self.spawn)
        self.open_requests = OpenRequests(self.redis, self.spawn, self.capacity.load)
        self.requests = RequestServices(
            settings,
            self.redis,
            self.api_id.hex(),
            self.router,
            self.relay,
            self.usage_log,
            self.additions,
            self.sessions,
            self.open_requests,
            self.authenticator.renewed,
            self.spawn,
        )
        self.background = Supervisor(self.requests, self.capacity.is_served, finished)
        self.arrivals = ArrivalRates()
        self.titles = Titles(
            self.database, self.redis, self.capacity, self.api_id.hex(), partial(own.chat, self.requests)
        )
        self.draining = self.drained = False
        self.schema_failure: str | None = SCHEMA_UNCHECKED
        self._listeners: Mapping[bytes, tuple[Callable[[str], None], ...]] = {
            b"workers": (self.capacity.invalidate,),
            b"routing": (self.routing_table.invalidate,),
            b"prompts": (self.system_prompts.invalidate,),
            KNOWLEDGE_NEWS: (self.knowledge.embedder.wake,),
            b"session": (self.sessions.leases.handle_news,),
            PAUSED_NEWS: (self._pause,),
            CANCEL_NEWS: (self.open_requests.handle_cancel, self.background.handle_cancel),
            BACKGROUND_NEWS: (self.background.wake,),
            RESPONSE_NEWS: (self.background.followers.handle_news,),
            DESCRIBE_NEWS: (self.open_requests.handle_describe,),
            REVOKED: (self.authenticator.forget,),
            CHANGED: (self.authenticator.invalidate,),
            # What was published during an outage is lost, and may have been about any of these.
            b"reconnected": (
                self.capacity.invalidate,
                self.routing_table.invalidate,
                self.system_prompts.invalidate,
                self.authenticator.invalidate_all,
                self.budget.invalidate,
            ),
        }
        self._set_up_task: asyncio.Task[None] | None = None
        self._tasks, self._attended = set[asyncio.Task[Any]](), set[asyncio.Task[None]]()

    async def start(self) -> None:
        """Subscribe, look for workers, and bring the database's schema up to date in the background."""
        await self.database.__aenter__()
        # First: pub/sub forgets, so nothing may be enqueued before the subscription stands.
        await self.relay.start()
        await self.capacity.start()
        await self.usage_backlog.start()
        self.usage_log.start()
        self.open_requests.start()
        self.background.start()
        # Beside it: an api that finds no PostgreSQL starts all the same, and migrates once that is there.
        self._set_up_task = spawn_critical(self._set_up_database(), name="database set-up")

    def abort_on_drain_timeout(self) -> None:
        """End every request that is still open as `Draining`: the drain time is over."""
        self.drained = True
        self.relay.is_aborted = True
        self.spawn(self.open_requests.abort_all(), "abort all")

    async def stop(self) -> None:
        """Close the connections to Redis and PostgreSQL; every response has ended by now, or nobody reads it."""
        if self._attended:
            await asyncio.wait(self._attended, timeout=self.settings.drain_s if self.draining else 0)
            self.abort_on_drain_timeout()
            await asyncio.wait({*self._attended, *self._tasks}, timeout=2)
            await end_all(*self._attended)
        await self.titles.stop()
        await self.background.stop()
        await self.capacity.stop()
        # Closing what is left of requests goes on in tasks: they need the relay, the usage log and Redis to the end.
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)
        await end_all(self._set_up_task, *self._tasks)
        await self.open_requests.stop()
        # Before the usage log stops: workers still say how cancelled attempts ended, and what they lose is closed here.
        await self.relay.settle()
        await self.routing_table.stop()
        await self.system_prompts.stop()
        await self.knowledge.embedder.stop()
        await self.budget.stop()
        await self.usage_log.stop()
        await self.usage_backlog.stop()
        # After the usage log: it looks at what is still open, and leaves that to the recorders.
        await self.relay.stop()
        await self.database.__aexit__(None, None, None)
        await redis_client.close(self.redis)

    def attend(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that is a request which no connection keeps; at the end it has the time that others have."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._attended.add(task)
        task.add_done_callback(self._attended.discard)
        return task

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task beside the requests, and return it; it is waited for at the end."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _pause(self, queue: str) -> None:
        """Take note of a backend that was paused, or goes on; what waits for it looks for another."""

        async def look() -> None:
            # First: until then the router ranks the paused backend as it did, and what waits would stay.
            await self.capacity.look()
            self.open_requests.look_elsewhere(queue)

        self.spawn(look(), f"pause {queue}")

    async def _embed(self, request: OwnRequest, model: str, texts: Sequence[str], **fields: Any) -> OwnVectors:
        return await own.embed(self.requests, request, model, texts, **fields)

    def _handle_news(self, news: bytes) -> None:
        kind, _, subject = news.partition(b" ")
        for listener in self._listeners.get(kind, ()):
            listener(subject.decode("utf-8", "replace"))

    async def _set_up_database(self) -> None:
        """Migrate, trying until it is done, then follow what stands in the database."""
        while (failure := await self._migrate_once()) is not None:
            self.schema_failure = failure
            await asyncio.sleep(MIGRATE_RETRY_S)
        await self.routing_table.start()
        await self.system_prompts.start()
        self.knowledge.embedder.start()
        await self.budget.start()
        if self.settings.titles:
            self.titles.start()
        # Last: until then /ready says that the schema is missing.
        self.schema_failure = None

    async def _migrate_once(self) -> str | None:
        """Migrate; return what is in the way, None when the schema is up to date."""
        try:
            await self.database.migrate()
        except DatabaseUnavailable as error:
            return str(error)  # logged by the database
        except (SchemaError, asyncpg.PostgresError, OSError) as error:
            text = f"{type(error).__name__}: {error}"
            # Once, not at each try.
            if text != self.schema_failure:
                _log.error("the database cannot be migrated to the newest schema: %s", text)
            return text
        return None


def gateway() -> Gateway:
    """Return the gateway of the app that serves the current request."""
    return cast("Gateway", current_app.extensions[EXTENSION])
