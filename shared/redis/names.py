"""Every name we use in Redis, arq's among them: a name is made here and nowhere else.

`docs/redis.md` says what stands there, how long, and how to read it. Ids of processes are 16 random bytes; their hex
digits stand in the names.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_QUEUE: Final = "arq:queue:"
_JOB: Final = "arq:job:"
_IN_PROGRESS: Final = "arq:in-progress:"
_RUNNING: Final = "claw:running:"
_SHARED: Final = "claw:shared:"
_FAIR: Final = "claw:fair:"
_WAKE: Final = "claw:wake:"
_IDLE: Final = "claw:idle:"
_ARRIVING: Final = "claw:arriving:"
_BYTES: Final = "claw:bytes:"
_TURN: Final = "claw:turn:"
_ANSWER: Final = "claw:answer:"
_TURNS: Final = "claw:session:turns:"
_LEASE: Final = "claw:session:lease:"
_AWAITED: Final = "claw:session:awaited:"
_CONVERSATION_LOCK: Final = "claw:conversation:lock:"
_OPEN: Final = "claw:open:"
_OPEN_RESPONSE: Final = "claw:response:open:"
_RESPONSE_EVENTS: Final = "claw:response:events:"
_BACKGROUND: Final = "claw:background:of:"
BACKGROUND_API: Final = 32 * "0"
"""The api process under whose id requests of the background are open: none, so that they outlive all of them."""
BACKGROUND_LEADER: Final = "claw:background:leader"
"""The api process that looks after them: its id in hex digits."""
_DONE_RESPONSE: Final = "claw:response:done:"
_KEPT_RESPONSE: Final = "claw:response:kept:"
_REMOVED_RESPONSE: Final = "claw:response:removed:"
_DONE_IN_CONVERSATION: Final = "claw:conversation:done:"
WAITING_BYTES: Final = _BYTES + "waiting"
"""Bytes of large bodies that wait: a hash, written by `bytes.lua`."""
USAGE_STREAM: Final = "claw:usage"
REJECTED_USAGE_STREAM: Final = "claw:usage:rejected"
USAGE_FAULT: Final = "claw:usage:fault"
"""The reason why a recorder cannot write, in PostgreSQL's words; gone some seconds after that is over."""
JANITOR_LOCK: Final = "claw:janitor"
API_SET: Final = "claw:apis"
METRICS_TARGETS: Final = "claw:metrics"
"""The processes that have metrics: a sorted set by the second up to which each counts."""
WORKERS: Final = "claw:workers"
PAUSED: Final = "claw:paused"
"""The queues that the operator has paused, and since when: a hash, read by `claim.lua`."""
QUEUES: Final = "claw:queues"
"""The queues that workers have announced: a set."""
NEWS_CHANNEL: Final = "claw:news"
PAUSED_NEWS: Final = b"paused"
BACKGROUND_NEWS: Final = b"background"
RESPONSE_NEWS: Final = b"response"
CANCEL_NEWS: Final = b"cancel"
DESCRIBE_NEWS: Final = b"describe"
"""The first words of some news."""
PROBE_KEYS: Final = tuple(f"claw:probe:{kind}" for kind in ("zset", "string", "hash", "set", "list"))
"""There for the length of one script: does the server let us do what we need?"""
KNOWLEDGE_EMBEDDER: Final = "claw:knowledge:embedder"
"""The api process that makes the vectors of the knowledge base: a lease."""
SNAPSHOT: Final = "claw:admin:snapshot"
"""The state of the installation that admin mode tells a model: JSON, without secrets."""
TITLES_LEASE: Final = "claw:titles"
"""The api process that gives sessions their titles: its id in hex digits."""
GEMINI_ACCOUNTS: Final = "claw:gemini:accounts"
"""The accounts that Gemini's workers have, as they publish them: a hash by id."""
GEMINI_SEAL: Final = "claw:gemini:seal"
"""The public key, in hex digits, that credentials are sealed for."""


def queue_name(tier: str, backend: str) -> str:
    """Name the queue of one backend of a tier."""
    return f"{_QUEUE}{tier}:{backend}"


def place_of_queue(queue: str) -> str:
    """Return how the operator names the backend whose queue this is: its tier, a colon and its name."""
    return queue.removeprefix(_QUEUE)


def queue_of_place(place: str) -> str:
    """Return the queue of a backend as the operator names it."""
    return _QUEUE + place


def reply_key(name: str) -> str:
    """Return the key of the list where an api process replies to what another asked it."""
    return "claw:reply:" + name


def looks_key(owner: str) -> str:
    """Name the key that counts how often a key has looked at its requests in a minute."""
    return "claw:looks:" + owner


def written_key(owner: str) -> str:
    """Name the key that counts how many bytes a key has brought to its conversations in a day."""
    return "claw:written:" + owner


def client_request_key(owner: str, name: str) -> str:
    """Return the key of the id of a request that its client has named (`X-Client-Request-Id`)."""
    return f"claw:client-request:{owner}:{name}"


def draining_key(worker_id: str) -> str:
    """Return the key that exists when a worker is asked to take no more jobs and end. `worker_id` in hex digits."""
    return "claw:draining:" + worker_id


def backend_of(queue: str) -> str:
    """Return the name of the backend whose queue this is."""
    return queue.removeprefix(_QUEUE).partition(":")[2]


def relay_channel(api_id: bytes) -> str:
    """Name the channel where workers publish frames for one api process."""
    return "claw:relay:" + api_id.hex()


def control_channel(worker_id: bytes) -> str:
    """Name the channel where api processes publish acknowledgements and cancellations for one worker process."""
    return "claw:control:" + worker_id.hex()


def wake_channel(worker_id: str) -> str:
    """Name the channel where a queue is published in which a job waits for a worker. `worker_id` in hex digits."""
    return _WAKE + worker_id


def idle_key(queue: str) -> str:
    """Return the key of the workers with a free slot that nobody has woken: a set of ids, written by `claim.lua`."""
    return _IDLE + queue


def api_key(api_id: str) -> str:
    """Name the key that a live api process holds. `api_id` in hex digits."""
    return "claw:api:" + api_id


def open_requests(api_id: str) -> str:
    """Name the hash of the requests that an api process has open. `api_id` in hex digits."""
    return _OPEN + api_id


def since_key(api_id: str) -> str:
    """Name the key of since when Redis knows the requests of an api process, by its clock. `api_id` in hex digits."""
    return "claw:since:" + api_id


def check_key(asker: str) -> str:
    """Name the list of what workers answer a doctor, for a minute. `asker` in hex digits."""
    return "claw:check:" + asker


def verdict_key(request_id: str) -> str:
    """Name the key of what a request was closed as by who did not know how it ended: attempt and cost, for a day."""
    return "claw:verdict:" + request_id


def worker_key(worker_id: str) -> str:
    """Name the key of what a live worker announces. `worker_id` in hex digits."""
    return "claw:worker:" + worker_id


def rate_key(key_id: str) -> str:
    """Name the admissions of the last minute of a gateway key: a sorted set by microsecond."""
    return "claw:rate:" + key_id


def tokens_key(owner: str) -> str:
    """Name the bucket of an owner's tokens a minute: the microsecond at which it is full again."""
    return "claw:tokens:" + owner


def rows_key(owner: str, minute: int) -> str:
    """Return the key of how many rows an owner's refused requests had in a minute since 1970: a hash, two minutes."""
    return f"claw:rows:{owner}:{minute}"


def nonce_key(call: str) -> str:
    """Name the key of the nonce that the secret of a new key is made of, by a digest of the call; ten seconds."""
    return "claw:nonce:" + call


def revision_key(key_id: str) -> str:
    """Name the key that holds which revision a gateway key has at least, where it was changed not long ago."""
    return "claw:revision:" + key_id


def revoked_key(key_id: str) -> str:
    """Name the key that exists when a gateway key was revoked not long ago."""
    return "claw:revoked:" + key_id


def job_key(job_id: str) -> str:
    """Return the key of a job's JSON, as arq names it."""
    return _JOB + job_id


def arriving_key(job_id: str) -> str:
    """Return the key of the head of a job whose body is on the way: its place in a queue is reserved."""
    return _ARRIVING + job_id


def in_progress_key(job_id: str) -> str:
    """Return arq's key of a claimed job; its value is the worker's id in hex digits."""
    return _IN_PROGRESS + job_id


def running_key(queue: str) -> str:
    """Name the sorted set of a queue's jobs that run, by the millisecond up to which each counts."""
    return _RUNNING + queue


def budget_key(month: str) -> str:
    """Name the hash of a month of UTC, as in `2026-11`: what was spent and is reserved, in billionths of US dollars."""
    return "claw:budget:" + month


def reservation_field(request_id: str) -> str:
    """Name the field of a budget that holds what a request has reserved. `request_id` in hex digits."""
    return "r:" + request_id


def budget_key_at(time_ms: int) -> str:
    """Name the budget that a request of this moment counts for. Milliseconds since 1970."""
    return budget_key(datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m"))


def owner_of(key_id: str | None) -> str:
    """Name the owner of the limits, share and budget that a request counts for: its key, or the internal token."""
    # No key has this id: those are UUIDs.
    return key_id or "internal"


def library_state(queue: str) -> str:
    """Name the key of what the Ollama server of a local backend has on its disk."""
    return "claw:store:state:" + queue


def library_operations(queue: str) -> str:
    """Name the hash, by model, of the operations asked of a local backend and how far they are."""
    # An older word than the code's: names on wires stay, as workers of two versions run side by side.
    return "claw:store:wishes:" + queue


def library_leader(queue: str) -> str:
    """Name the key of the worker that leads the operations of a local backend: its id in hex digits."""
    return "claw:store:keeper:" + queue


def account_key(account: str) -> str:
    """Name the hash that all models of an upstream account share, there only after its credential was refused."""
    return "claw:account:" + account


def breaker_key(account: str, model: str) -> str:
    """Name the circuit breaker of an account for a model: a hash, there only while it is not closed."""
    return f"claw:account:{account}:breaker:{model}"


def window_key(account: str, model: str) -> str:
    """Name the key of what an account's attempts at a model lately came to: a hash of counts by five seconds."""
    return f"claw:account:{account}:window:{model}"


def quota_keys(scope: str, model: str, day: str) -> tuple[str, str, str, str]:
    """Name the key of what is known and used of the quota that the accounts of a scope share for a model.

    A hash of cool-downs and learned limits, the log of the last minute (a sorted set by millisecond) with the prompt
    tokens of its entries (a hash), and the counts of a day, of all models (a hash).
    """
    start = f"claw:account:quota:{scope}:{model}"
    return start, start + ":minute", start + ":tokens", quota_day_key(scope, day)


def quota_day_key(scope: str, day: str) -> str:
    """Name the hash of what a scope used on a day of US Pacific: counts by model and by account."""
    return f"claw:account:day:{day}:{scope}"


def closed_key(queue: str) -> str:
    """Name the sorted set of the models that no account of a backend can serve, by the millisecond until then."""
    return "claw:account:closed:" + queue


def unsupported_key(queue: str) -> str:
    """Name the sorted set of what a backend's models refused as unsupported, by the millisecond up to which it holds.

    Each is a model, a parameter or one value of it, and digests of the key and the value that met it, on a line each.
    """
    return "claw:unsupported:" + queue


def probing_key(account: str) -> str:
    """Name the key held by the worker that asks whether a refused credential is good again."""
    return f"claw:account:{account}:probing"


def removed_account_key(name: str) -> str:
    """Name the key that exists when a Gemini account of this id or name was removed not long ago."""
    return "claw:gemini:removed:" + name


def removed_session_key(session_id: str) -> str:
    """Name the key that exists when a session was deleted not long ago. `session_id` in hex digits."""
    return "claw:session:removed:" + session_id


def ui_tries_key(address: str) -> str:
    """Return the key of how often an address has lately tried to sign in to the web UI."""
    return "claw:ui:tries:" + address


def ui_ended_key(session_id: str) -> str:
    """Return the key that exists when a session of the web UI was ended by who had it."""
    return "claw:ui:ended:" + session_id


def ui_form_key(form_id: str) -> str:
    """Return the key of when a form of the web UI was first sent that must have its effect once: seconds since 1970."""
    return "claw:ui:form:" + form_id


def shared_key(queue: str) -> str:
    """Return the key of what waits in other queues and may be taken over: a sorted set, written by `place.lua`."""
    return _SHARED + queue


def fair_key(queue: str, priority: int) -> str:
    """Return the key of each owner's last turn in a queue: a hash of scores, written by `place.lua`."""
    return f"{_FAIR}{queue}:{priority}"


def tool_call_key(call_id: str) -> str:
    """Return the key of what a model must get back with a tool call: its name, LF, a signature or thinking; a day."""
    return "claw:signature:" + call_id


def turn_key(request_id: str) -> str:
    """Return the key of what a request brings to its session: the session's id, a space, JSON (`TurnHead`)."""
    return _TURN + request_id


def answer_key(request_id: str) -> str:
    """Return the key of a session's answer as far as it has come: an assistant's message in JSON."""
    return _ANSWER + request_id


def thoughts_key(request_id: str) -> str:
    """Return the key of what a model has thought before it said anything in a session: a string in JSON."""
    return "claw:thoughts:" + request_id


def turns_key(session_id: str) -> str:
    """Return the key of a session's turns that are not in PostgreSQL yet: a list, written by `turn.lua`."""
    return _TURNS + session_id


def lease_key(session_id: str) -> str:
    """Return the key of the request that has a session now: its owner, a space, its id."""
    return _LEASE + session_id


def awaited_key(session_id: str) -> str:
    """Return the key that exists while somebody waits for a session: its end is news then."""
    return _AWAITED + session_id


def open_response_key(request_id: str) -> str:
    """Return the key of a response of the background that has not ended: a hash."""
    return _OPEN_RESPONSE + request_id


def response_events_key(request_id: str) -> str:
    """Return the key of the events of a response of the background: a stream."""
    return _RESPONSE_EVENTS + request_id


def followed_key(request_id: str) -> str:
    """Return the key that exists while somebody follows a response of the background: its events are news then."""
    return "claw:response:followed:" + request_id


def background_key(owner: str) -> str:
    """Return the key of an owner's open responses of the background: ids by the millisecond up to which each counts."""
    return _BACKGROUND + owner


def done_response_key(request_id: str) -> str:
    """Return the key of a response that has ended and is not in PostgreSQL yet: JSON, written by `response.lua`."""
    return _DONE_RESPONSE + request_id


def kept_response_key(request_id: str) -> str:
    """Return the key of a response as far as it has come, for whoever closes it for a worker that died: a hash."""
    return _KEPT_RESPONSE + request_id


def removed_response_key(request_id: str) -> str:
    """Return the key that exists when a response was deleted not long ago."""
    return _REMOVED_RESPONSE + request_id


def done_in_conversation_key(conversation_id: str) -> str:
    """Return the key of a conversation's responses that are not in PostgreSQL yet: a list of ids."""
    return _DONE_IN_CONVERSATION + conversation_id


def conversation_lock_key(conversation_id: str) -> str:
    """Return the key of who has a conversation now: api process and id of a request, and since when."""
    return _CONVERSATION_LOCK + conversation_id


LUA_NAMES: Final = {
    "job_key": _JOB,
    "in_progress_key": _IN_PROGRESS,
    "running_key": _RUNNING,
    "shared_key": _SHARED,
    "fair_key": _FAIR,
    "wake_channel": _WAKE,
    "idle_key": _IDLE,
    "arriving_key": _ARRIVING,
    "bytes_key": _BYTES,
    "turn_key": _TURN,
    "answer_key": _ANSWER,
    "turns_key": _TURNS,
    "lease_key": _LEASE,
    "awaited_key": _AWAITED,
    "open_response": _OPEN_RESPONSE,
    "response_events": _RESPONSE_EVENTS,
    "background_of": _BACKGROUND,
    "done_response": _DONE_RESPONSE,
    "kept_response": _KEPT_RESPONSE,
    "removed_response": _REMOVED_RESPONSE,
    "done_in_conversation": _DONE_IN_CONVERSATION,
    "open_requests": _OPEN,
    "conversation_lock": _CONVERSATION_LOCK,
    "news_channel": NEWS_CHANNEL,
    "paused_queues": PAUSED,
}
"""Functions that a script may use for names that only it can make, and what each puts before its argument."""
