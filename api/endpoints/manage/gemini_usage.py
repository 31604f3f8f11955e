"""Use, limits and state of Gemini accounts for people, from Redis. It only reads; workers write.

The names are in `shared/redis/names.py`, the fields in `shared/redis/lua/account_*.lua`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from shared.errors import ErrorInfo
from shared.models.catalogue import Catalogue, Quota
from shared.models.quota_day import next_reset, quota_day
from shared.redis.names import account_key, breaker_key, quota_day_key, quota_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from shared.postgres.gemini_accounts import KnownAccount

MINUTE_MS: Final = 60_000
_MODEL: Final = "model:"
State = Literal["ok", "untried", "recovering", "cooling", "failing", "rejected", "sealed"]


class ModelUse(msgspec.Struct, kw_only=True):
    """The use of a model's quota, by every account of its project. Limits that are None do not exist."""

    model: str
    requests_this_minute: int
    requests_per_minute: int | None
    prompt_tokens_this_minute: int
    prompt_tokens_per_minute: int | None
    requests_today: int
    requests_per_day: int | None
    day_resets_at: datetime
    state: State = "ok"
    state_until: datetime | None = None
    last_error: str | None = None


class AccountUse(msgspec.Struct, kw_only=True):
    """The use and the state of an account. Until `state_until` it is not used while another can serve."""

    tokens_used_today: int = 0
    requests_used_today: int = 0
    rpm_used_this_minute: int = 0
    state: State = "ok"
    state_since: datetime | None = None
    state_until: datetime | None = None
    last_error: str | None = None
    models: list[ModelUse] = []


async def read_use(
    redis: Redis, accounts: Sequence[tuple[KnownAccount, Quota]], catalogue: Catalogue
) -> list[AccountUse]:
    """Return the use and the state of accounts, in their order.

    Args:
        redis: a client whose replies are bytes.
        accounts: each with its own limits.
        catalogue: the limits of those that have none.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    now = datetime.now(UTC)
    day = quota_day(now)
    pipeline = redis.pipeline(transaction=False)
    for account, _ in accounts:
        pipeline.hgetall(account_key(account.id))
        pipeline.hgetall(quota_day_key(account.scope, day))
    replies = [_text(reply) for reply in await pipeline.execute()]
    uses = []
    for number, (account, own) in enumerate(accounts):
        known, today = replies[2 * number : 2 * number + 2]
        models = sorted(name.removeprefix(_MODEL) for name in today if name.startswith(_MODEL))
        uses.append(await _use(_Reader(redis, account, own, catalogue, now), known, today, models))
    return uses


class _Reader:
    """Reads what is known of an account and its models."""

    def __init__(self, redis: Redis, account: KnownAccount, own: Quota, catalogue: Catalogue, now: datetime) -> None:
        self.account = account
        self.now = now
        self.now_ms = now.timestamp() * 1000
        self._redis = redis
        self._own = own
        self._catalogue = catalogue

    async def model(self, model: str, requests_today: int) -> tuple[ModelUse, int]:
        """Return the use of a model, and how many requests of this minute were the account's own."""
        quota_key, minute_key, tokens_key, _ = quota_keys(self.account.scope, model, "")
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hgetall(quota_key)
        pipeline.zrangebyscore(minute_key, self.now_ms - MINUTE_MS, "+inf")
        pipeline.hgetall(tokens_key)
        pipeline.hgetall(breaker_key(self.account.id, model))
        quota, uses, tokens, breaker = await pipeline.execute()
        quota, tokens, breaker = _text(quota), _text(tokens), _text(breaker)
        entries = [use.decode() for use in uses]
        limits = self._limits(model, quota)
        used = ModelUse(
            model=model,
            requests_this_minute=len(entries),
            requests_per_minute=limits.requests_per_minute,
            prompt_tokens_this_minute=sum(int(tokens.get(use, 0)) for use in entries),
            prompt_tokens_per_minute=limits.prompt_tokens_per_minute,
            requests_today=requests_today,
            requests_per_day=limits.requests_per_day,
            day_resets_at=next_reset(self.now),
        )
        self._judge(used, quota, breaker)
        return used, sum(use.startswith(self.account.id + " ") for use in entries)

    def _judge(self, used: ModelUse, quota: dict[str, str], breaker: dict[str, str]) -> None:
        if float(breaker.get("until", 0)) > self.now_ms:
            used.state, used.state_until = "failing", _moment(breaker.get("until"))
            used.last_error = _message(breaker)
        elif float(quota.get("cool", 0)) > self.now_ms:
            used.state, used.state_until = "cooling", _moment(quota["cool"])
            used.last_error = _message(quota)
        elif used.requests_per_day is not None and used.requests_today >= used.requests_per_day:
            used.state, used.state_until = "cooling", used.day_resets_at
        elif breaker:
            used.state, used.last_error = "recovering", _message(breaker)

    def _limits(self, model: str, known: dict[str, str]) -> Quota:
        """Return the account's own limits, else the model's; lower ones that the upstream named lately come first."""
        of_model, own = self._catalogue.quota(model), self._own
        learned = known if float(known.get("learned", 0)) > self.now_ms else {}
        return Quota(
            requests_per_minute=_lower(own.requests_per_minute or of_model.requests_per_minute, learned.get("rpm")),
            prompt_tokens_per_minute=_lower(
                own.prompt_tokens_per_minute or of_model.prompt_tokens_per_minute, learned.get("tpm")
            ),
            requests_per_day=_lower(own.requests_per_day or of_model.requests_per_day, learned.get("rpd")),
        )


async def _use(reader: _Reader, known: dict[str, str], today: dict[str, str], models: list[str]) -> AccountUse:
    account = reader.account
    use = AccountUse(
        tokens_used_today=int(today.get(f"tokens:{account.id}", 0)),
        requests_used_today=int(today.get(f"requests:{account.id}", 0)),
    )
    for model in models:
        used, own = await reader.model(model, int(today[_MODEL + model]))
        use.models.append(used)
        use.rpm_used_this_minute += own
    if not known and not use.requests_used_today:
        # Nothing says that its key is good.
        use.state = "untried"
    if not account.can_open:
        use.state = "sealed"
        use.last_error = "Its key was sealed for another encryption key: set it anew."
    elif account.fingerprint and known.get("rejected") == account.fingerprint:
        use.state, use.last_error = "rejected", _message(known)
        use.state_since, use.state_until = _moment(known.get("since")), _moment(known.get("until"))
    elif use.models and all(used.state != "ok" for used in use.models):
        # As long as one model can be used, the account is well.
        first = min(use.models, key=lambda used: used.state_until or reader.now)
        use.state, use.state_until, use.last_error = first.state, first.state_until, first.last_error
    return use


def _text(reply: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in reply.items()}


def _moment(ms: str | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(float(ms) / 1000, UTC)


def _message(known: dict[str, Any]) -> str | None:
    raw = known.get("error")
    return msgspec.json.decode(raw, type=ErrorInfo).message if raw else None


def _lower(limit: int | None, learned: str | None) -> int | None:
    if learned is None:
        return limit
    return int(learned) if limit is None else min(limit, int(learned))
