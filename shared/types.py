"""The types that api and workers share, as small structs: jobs, model events, usage, what workers announce."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final, Literal, Self

import msgspec

from shared.dialects.stored.pending import StoredHead
from shared.openai.sessions.history import History
from shared.process.tracing.context import TraceContext
from shared.queue.story import Happening, StoryEvent, with_event

Tier = Literal["local", "gemini", "paid"]
TIERS: tuple[Tier, ...] = ("local", "gemini", "paid")
Endpoint = Literal["chat", "embeddings"]
OwnPurpose = Literal["knowledge", "title", "chat"]
"""Purposes of the gateway's own requests."""

MOST_NAME_CHARS: Final = 256
"""Names of models, functions and schemas, which stand in frames, records and logs: OpenAI allows 64, others more."""
MOST_CALL_ID_CHARS: Final = 65_536
"""Ids of tool calls: some clients keep a thought signature in them."""

Name = Annotated[str, msgspec.Meta(max_length=MOST_NAME_CHARS)]
ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_NAME_CHARS)]
CallId = Annotated[str, msgspec.Meta(max_length=MOST_CALL_ID_CHARS)]


class Target(msgspec.Struct, frozen=True):
    """The target of one attempt: a tier, the queue of a worker backend that can serve it, and the model there."""

    tier: Tier
    queue: str
    model: str


class AddedText(msgspec.Struct, frozen=True):
    """A text that the gateway puts before a client's messages: where it is from, and about how many tokens it has."""

    source: Literal["app", "system_prompt", "admin", "knowledge"]
    text: str
    tokens: int


class JobDraft(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One attempt of a request before its place is chosen. Times are milliseconds since 1970.

    `request_id` and `api_id` are hex digits; `body` is the client's own JSON, of this `dialect` where it asks for a
    chat; what is `added` and the `history` of a session (`session_id`) come before its messages, and `stored` says how
    its answer is stored. `patient_until_ms` bounds the wait for a turn; 0 is `CLAW_QUEUE_TIMEOUT_S` after the
    admission. `earlier_cost_usd` is what paid upstreams bill for attempts that were given up. `purpose`: a request's of
    our own. Of a key with `tokens_per_minute` (else 0) `reserved_tokens` are reserved. `story` and `trace`: its own.
    """

    request_id: str
    attempt: int
    api_id: str
    endpoint: Endpoint
    requested_model: str = msgspec.field(name="asked_model")  # so on the wire
    stream: bool
    key_id: str | None = None
    admitted_ms: int
    expires_ms: int
    patient_until_ms: int = 0
    earlier_cost_usd: float = 0.0
    tokens_per_minute: int = 0
    reserved_tokens: int = 0
    story: tuple[StoryEvent, ...] = ()
    trace: TraceContext | None = None
    added: tuple[AddedText, ...] = ()
    session_id: str = ""
    history: History | None = None
    purpose: str = ""
    dialect: str = "chat"
    stored: StoredHead | None = None
    body: msgspec.Raw

    @property
    def size_bytes(self) -> int:
        """Return how large its texts are: the body, and what is added."""
        size = len(self.body) + sum(len(each.text.encode()) for each in self.added)
        return size if self.history is None else size + self.history.size_bytes

    @property
    def added_tokens(self) -> int:
        """Return about how many tokens the gateway put before the client's."""
        tokens = sum(each.tokens for each in self.added)
        return tokens if self.history is None else tokens + self.history.tokens

    def noted(self, what: Happening, detail: str, at_ms: int | None = None) -> Self:
        """Return it with one event more in its story, of now or of `at_ms`, if there is room."""
        return msgspec.structs.replace(self, story=with_event(self.story, what, detail, at_ms))

    def after(self, cost_usd: float) -> Self:
        """Return it as it is after an attempt was given up for which its upstream bills `cost_usd`."""
        return msgspec.structs.replace(self, earlier_cost_usd=self.earlier_cost_usd + cost_usd) if cost_usd else self


class Job(JobDraft, frozen=True, omit_defaults=True, kw_only=True):
    """One attempt, as it waits in a queue (the `k` of arq's job JSON).

    `is_last`: nothing else can serve the request, so that it waits for a quota rather than fail, and a cooling account
    is tried all the same.
    """

    tier: Tier
    model: str
    is_last: bool = False


class ToolCallDelta(msgspec.Struct, omit_defaults=True):
    """A piece of one tool call. `id` and `name` stand in its first piece only.

    `extra_content` is what clients send back with the call, as Google's API has it: a thought signature.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    extra_content: dict[str, Any] | None = None


class Delta(msgspec.Struct):
    """New output of one choice; `annotations` are OpenAI's, as citations of what was searched.

    `extra` are fields that OpenAI does not name (`reasoning_details`, `images`, `extra_content`), `native` the
    upstream's own events, by name, for a client of the same API, and `unread` is output that only those have.
    """

    content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallDelta] | None = None
    logprobs: msgspec.Raw | None = None
    index: int = 0
    annotations: list[Any] | None = None
    extra: dict[str, Any] | None = None
    native: list[tuple[str, bytes]] | None = None
    unread: str | None = None


FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class Finish(msgspec.Struct):
    """The end of one choice.

    `stop` is the sequence that ended it, `service_tier` what served it, in the upstream's words. See `Delta.native`.
    """

    reason: FinishReason
    index: int = 0
    stop: str | None = None
    service_tier: str = ""
    native: list[tuple[str, bytes]] | None = None


MOST_SEARCHES: Final = 1_000
"""No answer searches the web more often: a larger count is none."""

MOST_BILLED_USD: Final = 1_000.0
"""No answer costs more, whatever an upstream says."""


class Usage(msgspec.Struct):
    """Token counts that the upstream reported.

    `prompt_tokens` includes the cached and those written to a cache, `cache_write_1h_tokens` being those of the latter
    that stay for an hour. `service_tier` is the one that served, where the upstream says; `web_searches` are those that
    the upstream made itself. `requests` is how many requests to the upstream the counts are of. `is_regional` says that
    it was bound to a region, which some bill higher, and `billed_usd` is the upstream's own bill, where it has one.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    service_tier: str = ""
    web_searches: int = 0
    requests: int = 1
    prompt_audio_tokens: int = 0
    completion_audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0
    is_regional: bool = False
    billed_usd: float | None = None

    def consistent(self) -> Usage:
        """Return counts that cannot contradict each other: none negative, no part larger than its whole."""
        prompt_tokens, completion_tokens = max(0, self.prompt_tokens), max(0, self.completion_tokens)
        cached = min(max(0, self.cached_tokens), prompt_tokens)
        written = min(max(0, self.cache_write_tokens), prompt_tokens - cached)
        return Usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            cached_tokens=cached,
            reasoning_tokens=min(max(0, self.reasoning_tokens), completion_tokens),
            cache_write_tokens=written,
            cache_write_1h_tokens=min(max(0, self.cache_write_1h_tokens), written),
            service_tier=self.service_tier[:MOST_NAME_CHARS],
            web_searches=min(max(0, self.web_searches), MOST_SEARCHES),
            requests=max(1, self.requests),
            prompt_audio_tokens=min(max(0, self.prompt_audio_tokens), prompt_tokens),
            completion_audio_tokens=min(max(0, self.completion_audio_tokens), completion_tokens),
            accepted_prediction_tokens=min(max(0, self.accepted_prediction_tokens), completion_tokens),
            rejected_prediction_tokens=min(max(0, self.rejected_prediction_tokens), completion_tokens),
            is_regional=self.is_regional,
            billed_usd=None if self.billed_usd is None else min(max(0.0, self.billed_usd), MOST_BILLED_USD),
        )


Event = Delta | Finish | Usage


class Started(Target, frozen=True, omit_defaults=True):
    """The worker that has an attempt.

    `usage` is what a paid upstream that was asked bills for it so far: as it says, and estimated where it does not.
    `taken_over` says that it waited for another backend before.
    """

    usage: Usage | None = None
    taken_over: bool = False


class LocalModel(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model that an upstream has now. One whose `endpoints` are not known is taken to serve them all.

    `cannot` is as in the catalogue's `ModelEntry`, and `can` what the upstream itself says that it takes, which the
    catalogue may not deny. `shutdown` is the day (ISO 8601) from which the upstream says that it is gone. One that
    `is_loaded` answers without being read into memory first; one that `loads_on_request` takes seconds for that where
    it is not. A request may ask for more than `context_length` where the model `can_extend_context`. Its answers have
    at most `max_output_tokens`.
    """

    id: str
    created: int = 0
    context_length: int | None = None
    endpoints: tuple[Endpoint, ...] = ("chat", "embeddings")
    cannot: tuple[str, ...] = ()
    can: tuple[str, ...] = ()
    shutdown: str = ""
    is_loaded: bool = False
    loads_on_request: bool = False
    can_extend_context: bool = False
    max_output_tokens: int | None = None


class BackendInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """One upstream that a worker serves: its queue, its slots and the models it has now.

    A worker that is ending has no slots. `service_ms` is how long an attempt lately took, and
    `ms_per_token` that by tokens of its answer; 0 while that is not known.
    `closed_ms` says until when (milliseconds since 1970) no account can serve a model, `""` standing for every model:
    then another backend is chosen where there is one. `unsupported_ms` says until when which models are taken not to be
    able to do what, by model and in the words of `cannot`. `ended_per_minute` attempts ended in the last minute.
    Its worker knows these `dialects`: one of an earlier version knows chat alone, and would take all for one.
    """

    tier: Tier
    provider: str
    queue: str
    slots: int
    models: tuple[LocalModel, ...]
    service_ms: int = 0
    closed_ms: dict[str, int] = {}
    ms_per_token: float = 0.0
    unsupported_ms: dict[str, dict[str, int]] = {}
    ended_per_minute: int = 0
    dialects: tuple[str, ...] = ("chat",)

    def unsupported(self, model: str) -> tuple[str, ...]:
        """Return what attempts have lately shown that a model here cannot do."""
        if not self.unsupported_ms:
            return ()
        now_ms = time.time() * 1000
        return tuple(word for word, until in self.unsupported_ms.get(model, {}).items() if until > now_ms)


class Announcement(msgspec.Struct, frozen=True):
    """The announcement of a live worker, published again and again until it ends.

    With a `refusal`, what Redis refuses it and what to mend, it has no backends: nobody would hear its answers.
    `host` and `pid` say where it runs, `since_ms` since when; one that `is_draining` takes nothing more.
    """

    worker_id: str
    tier: Tier
    backends: tuple[BackendInfo, ...] = msgspec.field(name="lanes")  # the name on the wire since the first release
    refusal: str = ""
    host: str = ""
    pid: int = 0
    since_ms: int = 0
    is_draining: bool = False
    running: int = 0
