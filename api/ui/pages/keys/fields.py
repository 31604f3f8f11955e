"""A key's limits as the fields of a form: read, checked, and shown again as they were typed where one is wrong."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from api.endpoints.keys.operations import NewKey
from api.http.times import in_utc
from api.ui.render import plain_number
from shared.errors import InvalidRequest
from shared.postgres.keys import DEFAULT_RPM_LIMIT, MAX_BUDGET_USD, MAX_TOKENS_PER_MINUTE
from shared.settings import MAX_RPM_LIMIT
from shared.types import TIERS

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

    from shared.postgres.keys import ApiKey

_Kind = TypeVar("_Kind")

LIFETIMES: Final = (
    ("", "Never"), ("1", "In a day"), ("7", "In a week"), ("30", "In 30 days"), ("90", "In 90 days"),
    ("365", "In a year"), ("at", "On a date you choose"),
)  # fmt: skip
"""Choices of a key's expiry: days from now."""
BOUNDS: Final = {"rpm": MAX_RPM_LIMIT, "tpm": MAX_TOKENS_PER_MINUTE, "budget": MAX_BUDGET_USD}


class WrongFields(Exception):
    """Some fields are wrong: a text for each, by its name."""

    def __init__(self, texts: dict[str, str]) -> None:
        super().__init__(", ".join(texts))
        self.texts = texts


def empty_form() -> dict[str, Any]:
    """Return what the form for a new key begins with."""
    return {
        "name": "", "rpm_limit": str(DEFAULT_RPM_LIMIT), "tokens_per_minute": "", "monthly_budget_usd": "",
        "allowed_models": "", "allowed_tiers": [], "expires": "", "expires_at": "", "admin_allowed": False,
        "system_prompt_id": "", "stream_comments": True,
    }  # fmt: skip


def form_of(key: ApiKey) -> dict[str, Any]:
    """Return a key as the form shows it."""
    budget = key.monthly_budget_usd
    return {
        "name": key.name,
        "rpm_limit": str(key.rpm_limit),
        "tokens_per_minute": "" if key.tokens_per_minute is None else str(key.tokens_per_minute),
        "monthly_budget_usd": "" if budget is None else plain_number(budget),
        "allowed_models": "\n".join(key.allowed_models),
        "allowed_tiers": list(key.allowed_tiers),
        "expires": "" if key.expires_at is None else "at",
        "expires_at": "" if key.expires_at is None else f"{key.expires_at.astimezone(UTC):%Y-%m-%dT%H:%M}",
        "admin_allowed": key.admin_allowed,
        "system_prompt_id": key.system_prompt_id or "",
        "stream_comments": key.stream_comments,
    }


def typed(form: MultiDict[str, str]) -> dict[str, Any]:
    """Return the form as it was typed."""
    # Browsers send the lines of a field with CRLF, whatever they were given.
    texts = {name: form.get(name, "").strip().replace("\r\n", "\n") for name in empty_form()}
    texts["expires_at"] = _in_utc(texts["expires_at"])
    flags = {name: name in form for name in ("admin_allowed", "stream_comments")}
    return {**texts, "allowed_tiers": form.getlist("allowed_tiers"), **flags}


def limits(shown: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a key that a form means, as the management API takes them.

    Raises:
        WrongFields: some mean nothing.
    """
    wrong: dict[str, str] = {}
    found: dict[str, Any] = {
        "name": shown["name"],
        "admin_allowed": shown["admin_allowed"],
        "stream_comments": shown["stream_comments"],
        "allowed_models": list(filter(None, (line.strip() for line in re.split(r"[,\n]", shown["allowed_models"])))),
        "allowed_tiers": [tier for tier in TIERS if tier in shown["allowed_tiers"]],
        "system_prompt_id": shown["system_prompt_id"] or None,
    }
    for name, high in (("rpm_limit", BOUNDS["rpm"]), ("tokens_per_minute", BOUNDS["tpm"])):
        text = shown[name].replace(",", "").replace(" ", "")
        if not text and name == "tokens_per_minute":
            found[name] = None
        # `isdigit` takes `²`, which `int` does not; nor does that take thousands of digits.
        elif text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= high:
            found[name] = int(text)
        else:
            wrong[name] = f"A whole number from 1 to {high:,}."
    found["monthly_budget_usd"] = _budget(shown["monthly_budget_usd"], wrong)
    found["expires_at"] = _expiry(shown, wrong)
    if not shown["name"]:
        wrong["name"] = "A name that says what the key is for."
    if wrong:
        raise WrongFields(wrong)
    return found


def changes(key: ApiKey, shown: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a key that a form means to change: what it shows may be less than what the key has.

    Raises:
        WrongFields: some mean nothing.
    """
    before = form_of(key)
    same = {name for name, text in before.items() if shown[name] == (text.strip() if isinstance(text, str) else text)}
    keeps_end = {"expires", "expires_at"} <= same
    # It may be over by now, and is no mistake of who changes something else.
    found = limits({**shown, "expires": ""} if keeps_end else shown)
    kept = same - {"expires_at"} | ({"expires_at"} if keeps_end else set())
    return {name: value for name, value in found.items() if name not in kept}


def new_key(found: dict[str, Any]) -> NewKey:
    """Return what a key is created from.

    Raises:
        WrongFields: the rules of the management API forbid it.
    """
    return converted(found, NewKey)


def converted(found: dict[str, Any], kind: type[_Kind]) -> _Kind:
    """Return fields as the management API takes them.

    Raises:
        WrongFields: its rules forbid them.
    """
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise wrong_field(str(error)) from None


def wrong_field(text: str) -> WrongFields:
    """Return a refusal of the management API as what is wrong with a field: its text names that at its end."""
    reason, _, path = text.partition(" - at `$.")
    name = path.partition("`")[0].partition("[")[0]
    return WrongFields({name or "form": reason[:1].upper() + reason[1:]})


def refused(error: InvalidRequest) -> WrongFields:
    """Return the same for an error."""
    return wrong_field(error.message)


def _budget(text: str, wrong: dict[str, str]) -> float | None:
    text = text.removeprefix("$").replace(",", "").strip()
    if not text:
        return None
    try:
        sum_usd = float(text)
    except ValueError:
        sum_usd = -1.0
    if not 0 <= sum_usd <= MAX_BUDGET_USD:  # so written it refuses NaN too
        wrong["monthly_budget_usd"] = f"A sum of US dollars from 0 to {MAX_BUDGET_USD:,}."
        return None
    return sum_usd


def _in_utc(text: str) -> str:
    """Return a time as a field for one has it, which knows no zone."""
    try:
        moment = datetime.fromisoformat(text)
        return f"{in_utc(moment):%Y-%m-%dT%H:%M}" if moment.tzinfo else text
    except ValueError:
        return text


def _expiry(shown: dict[str, Any], wrong: dict[str, str]) -> str | None:
    now = datetime.now(UTC)
    if not shown["expires"]:
        return None
    if shown["expires"] != "at":
        days = dict(LIFETIMES).get(shown["expires"])
        if days is None:
            wrong["expires"] = "One of the list."
            return None
        return (now + timedelta(days=int(shown["expires"]))).isoformat(timespec="seconds")
    try:
        moment = datetime.fromisoformat(shown["expires_at"])
    except ValueError:
        wrong["expires_at"] = "A day and a time."
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= now:
        wrong["expires_at"] = "A time to come."
    return moment.isoformat(timespec="seconds")
