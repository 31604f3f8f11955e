"""Pages of keys: the list, one key, and the forms that make and change one."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from quart import Response, g, request

from api.admission.auth import principal_of
from api.endpoints.keys import operations
from api.endpoints.keys.admins import check_may_create
from api.endpoints.manage.guard import flag_argument, integer_argument
from api.gateway import gateway
from api.ui import flash
from api.ui.forms import form, is_repeated, keep_sent
from api.ui.links import base_url, url
from api.ui.navigation import KEYS
from api.ui.pages.keys import fields
from api.ui.pages.usage.charts import usage_chart
from api.ui.pages.usage.filters import read_filters
from api.ui.render import render, see_other
from api.ui.state import visit
from shared.errors import GatewayError, InvalidRequest, NotFound
from shared.models.catalogue import AUTO
from shared.postgres.database import DatabaseUnavailable
from shared.postgres.keys import DEFAULT_GRACE_S, KeyChange
from shared.postgres.system_prompts import SystemPromptStore
from shared.postgres.ui.usage import UsageReport
from shared.redis.client import UNREACHABLE
from shared.types import TIERS

if TYPE_CHECKING:
    from api.ui.pages.keys.fields import WrongFields
    from shared.postgres.keys import ApiKey

PAGE_ROWS: Final = 50
MOST_PAGES: Final = 100_000
GRACES: tuple[tuple[int, str], ...] = (
    (0, "Not at all: it is refused at once"), (3600, "An hour"), (DEFAULT_GRACE_S, "A day"), (7 * 86400, "A week"),
    (30 * 86400, "30 days"),
)  # fmt: skip
"""Choices of the time that the secret before may work still, in seconds."""


async def show_keys() -> Response:
    """Show the keys, the newest first and page by page, or those whose name or beginning has what is looked for."""
    with_revoked, wanted = flag_argument("all"), request.args.get("q", "").strip().lower()
    page = integer_argument("page", 1, low=1, high=MOST_PAGES)
    keys = await gateway().keys.list(include_revoked=with_revoked)
    found = [key for key in keys if wanted in key.name.lower() or wanted in key.key_prefix.lower()]
    found.sort(key=lambda key: (key.is_active, key.created_at), reverse=True)
    shown = found[(page - 1) * PAGE_ROWS : page * PAGE_ROWS]
    return await render(
        "keys/list.html",
        KEYS,
        keys=shown,
        has_any=bool(keys),
        first=(page - 1) * PAGE_ROWS + 1,
        count=len(found),
        page_number=page,
        wanted=wanted,
        with_revoked=with_revoked,
        spent=await _spent(),
        now=datetime.now(UTC),
    )


async def show_new_key() -> Response:
    """Show the form for a new key."""
    return await _form_page(fields.empty_form())


async def create_key() -> Response:
    """Create a key and show its secret, this once."""
    shown, once = fields.typed(form()), form().get("once", "")
    if await is_repeated(once):
        return _sent_before()
    try:
        found = g.change = fields.limits(shown)
        await check_may_manage(admin_allowed=found["admin_allowed"])
        key, secret = await operations.create_key(fields.new_key(found), _call(once, found))
    except InvalidRequest as error:
        return await _form_page(shown, fields.refused(error))
    except fields.WrongFields as wrong:
        return await _form_page(shown, wrong)
    g.made = key.id
    await keep_sent(once)
    return await _secret_page(key, secret, "Key created")


async def show_key(key_id: str) -> Response:
    key, now = await _key(key_id), datetime.now(UTC)
    filters = read_filters({"key": key.id, "span": "30d"})
    report, times = UsageReport(gateway().database, filters.wanted(now)), filters.times(now)
    steps, totals = await report.steps(filters.span.step.total_seconds()), await report.totals()
    return await render(
        "keys/key.html",
        KEYS,
        key=key,
        charts=[usage_chart(steps, by, times, filters.span.step, f"key-{by}") for by in ("requests", "tokens", "cost")],
        totals=totals,
        filters=filters,
        spent=(await _spent()).get(key.id, 0.0),
        prompt=await _prompt_name(key),
        graces=GRACES,
        default_grace=DEFAULT_GRACE_S,
        once=secrets.token_hex(16),
        now=now,
    )


async def show_key_form(key_id: str) -> Response:
    """Show the form that changes a key."""
    key = await _active_key(key_id)
    return await _form_page(fields.form_of(key), key=key)


async def change_key(key_id: str) -> Response:
    key, shown = await _active_key(key_id), fields.typed(form())
    try:
        found = g.change = fields.changes(key, shown)
        await check_may_manage(admin_allowed=shown["admin_allowed"] and not key.admin_allowed)
        if found:
            await operations.change_key(key.id, fields.converted(found, KeyChange))
    except InvalidRequest as error:
        return await _form_page(shown, fields.refused(error), key)
    except fields.WrongFields as wrong:
        return await _form_page(shown, wrong, key)
    flash.add(f"The key {shown['name']} was changed. It has effect at once." if found else "Nothing was changed.")
    return see_other(url("keys", key.id))


async def rotate_key(key_id: str) -> Response:
    """Give a key another secret and show it, this once."""
    once = form().get("once", "")
    if await is_repeated(once):
        return _sent_before()
    grace = form().get("grace_s", "")
    if grace not in {str(seconds) for seconds, _ in GRACES}:
        raise InvalidRequest("grace_s must be one of the list.", param="grace_s")
    g.change = {"grace_s": int(grace)}
    await check_may_manage(admin_allowed=(await _key(key_id)).admin_allowed)
    key, secret, until = await operations.rotate_key(key_id, int(grace), _call(once, g.change))
    await keep_sent(once)
    return await _secret_page(key, secret, "New secret", until, is_rotated=True)


async def revoke_key(key_id: str) -> Response:
    key = await _key(key_id)
    await operations.revoke_key(key.id)
    flash.add(f"The key {key.name} is revoked: requests with it are refused from now on.")
    return see_other(url("keys"))


async def check_may_manage(*, admin_allowed: bool) -> None:
    """Check that nobody gets more by a key than by the own one that opened the session.

    Raises:
        ModelNotAllowed: it is an admin's key that is bounded itself, or is to open more to somebody.
    """
    key_id = visit().session.key_id
    own = None if key_id is None else await gateway().keys.find(key_id)
    if own is not None:
        g.admin = principal_of(own)
        check_may_create(admin_allowed=admin_allowed)


def _call(once: str, change: dict[str, Any]) -> bytes:
    """Return what makes two forms the same one, sent twice."""
    whose = f"{visit().actor} {request.method} {request.path} {once} "
    return whose.encode() + msgspec.json.encode(change, order="sorted")


def _sent_before() -> Response:
    flash.add("This form was sent before, so nothing was done again. A secret is shown only once.", "failed")
    return see_other(url("keys"))


async def _key(key_id: str) -> ApiKey:
    key = await gateway().keys.find(key_id)
    if key is None:
        raise NotFound("There is no key with this id.")
    return key


async def _active_key(key_id: str) -> ApiKey:
    key = await _key(key_id)
    if not key.is_active:
        raise NotFound("This key is revoked: it cannot be changed any more.")
    return key


async def _form_page(shown: dict[str, Any], wrong: WrongFields | None = None, key: ApiKey | None = None) -> Response:
    return await render(
        "keys/form.html",
        KEYS,
        status=200 if wrong is None else 400,
        key=key,
        shown=shown,
        wrong={} if wrong is None else wrong.texts,
        tiers=TIERS,
        lifetimes=fields.LIFETIMES if key is None else (("", "Never"), ("at", "On a date you choose")),
        prompts=await _prompts(),
        models=sorted({AUTO, *(name for tier in TIERS for name in gateway().capacity.models(tier))}),
        once=form().get("once") or secrets.token_hex(16),  # the same form again, where a field was wrong
    )


async def _secret_page(
    key: ApiKey, secret: str, title: str, until: datetime | None = None, *, is_rotated: bool = False
) -> Response:
    return await render(
        "keys/secret.html", KEYS, key=key, secret=secret, heading=title, until=until, is_rotated=is_rotated,
        base_url=base_url(), model=_example_model(key),
    )  # fmt: skip


def _example_model(key: ApiKey) -> str:
    """Return a model that the key may use."""
    plain = [name for name in key.allowed_models if "*" not in name]
    return AUTO if not key.allowed_models or AUTO in plain else (plain or [AUTO])[0]


async def _spent() -> dict[str, float]:
    """Return what each key has spent this month in US dollars; nothing where that cannot be found out now."""
    try:
        state = await gateway().budget.state()
    except (DatabaseUnavailable, GatewayError, *UNREACHABLE):
        return {}
    return {owner.key_id: owner.spent_usd for owner in state.keys}


async def _prompts() -> list[tuple[str, str]]:
    prompts = await SystemPromptStore(gateway().database).list()
    return [("", "The default one"), *((str(prompt.id), prompt.name) for prompt in prompts)]


async def _prompt_name(key: ApiKey) -> str:
    return dict(await _prompts()).get(key.system_prompt_id or "", "")
