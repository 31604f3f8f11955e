"""Forms of Gemini accounts: add one, change one, switch one on or off, remove one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from quart import Response, g

from api.endpoints.manage import gemini_accounts
from api.endpoints.manage.gemini_accounts import Change, NewAccount
from api.ui import flash
from api.ui.forms import form
from api.ui.links import url
from api.ui.navigation import MODELS
from api.ui.render import render, see_other
from shared.errors import GatewayError, NotFound
from shared.postgres.gemini_accounts import MAX_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

_Kind = TypeVar("_Kind")

LIMITS: Final = ("requests_per_minute", "prompt_tokens_per_minute", "requests_per_day")
SECTION: Final = "#gemini"


class _Wrong(Exception):
    """Some fields are wrong: a text for each, by its name; `form` is the whole."""

    def __init__(self, texts: dict[str, str], status: int = 400) -> None:
        super().__init__(", ".join(texts))
        self.texts = texts
        self.status = status


async def show_new_account() -> Response:
    """Show the form for a new account."""
    return await _form_page(_typed())


async def add_account() -> Response:
    """Add an account. Its key is sealed for the workers before it is stored, and shown to nobody."""
    shown = _typed()
    g.change = {"account_email": shown["account_email"], "project": shown["project"]}
    try:
        fields = _fields(shown) | {"account_email": shown["account_email"], "api_key": _secret()}
        made = await _tried(gemini_accounts.add, _converted(fields, NewAccount))
    except _Wrong as wrong:
        return await _form_page(shown, wrong)
    g.made = made["id"]
    flash.add(f"{made['account_email']} was added: workers use it within a second." + _same_key(made))
    return see_other(url("models") + SECTION)


async def show_account_form(name: str) -> Response:
    """Show the form that changes an account."""
    account = await _account(name)
    shown = {field: "" if account[field] is None else str(account[field]) for field in ("project", *LIMITS)}
    return await _form_page({"account_email": account["account_email"], **shown}, account=account)


async def change_account(name: str) -> Response:
    """Change an account; a key that is left empty stays."""
    account, shown = await _account(name), _typed()
    shown["account_email"] = account["account_email"]
    g.change = {"account_email": account["account_email"], "project": shown["project"]}
    try:
        fields = _fields(shown) | ({"api_key": _secret()} if _secret() else {})
        changed = await _tried(lambda wanted: gemini_accounts.change(name, wanted), _converted(fields, Change))
    except _Wrong as wrong:
        return await _form_page(shown, wrong, account)
    flash.add(f"{changed['account_email']} was changed." + _same_key(changed))
    return see_other(url("models") + SECTION)


async def switch_account(name: str) -> Response:
    """Switch an account on or off."""
    is_on = form().get("enabled") == "true"
    g.change = {"enabled": is_on}
    changed = await gemini_accounts.change(name, Change(enabled=is_on))
    flash.add(f"{changed['account_email']} is {'used again' if is_on else 'not used any more'}.")
    return see_other(url("models") + SECTION)


async def remove_account(name: str) -> Response:
    removed = await gemini_accounts.remove(name)
    flash.add(f"{removed.get('account_email', 'The account')} was removed; what runs with it goes on.")
    return see_other(url("models") + SECTION)


def _typed() -> dict[str, str]:
    """Return the form as it was typed, but for the secret, which is never shown again."""
    return {name: form().get(name, "").strip() for name in ("account_email", "project", *LIMITS)}


def _secret() -> str:
    return form().get("api_key", "").strip()


def _fields(shown: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields that a new account and a change share.

    Raises:
        _Wrong: a limit is no number.
    """
    wrong = {}
    found: dict[str, Any] = {"project": shown["project"] or None}
    for name in LIMITS:
        text = shown[name].replace(",", "").replace(" ", "")
        if not text:
            found[name] = None
        # `isdigit` takes `²`, which `int` does not; nor does that take thousands of digits.
        elif text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= MAX_LIMIT:
            found[name] = int(text)
        else:
            wrong[name] = f"A whole number from 1 to {MAX_LIMIT:,}."
    if wrong:
        raise _Wrong(wrong)
    return found


def _converted(fields: dict[str, Any], kind: type[_Kind]) -> _Kind:
    """Return fields as the management API takes them.

    Raises:
        _Wrong: its rules forbid them.
    """
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None


async def _tried(work: Any, wanted: object) -> dict[str, Any]:
    """Return what comes of a change.

    Raises:
        _Wrong: it was refused.
    """
    try:
        found: dict[str, Any] = await work(wanted)
    except GatewayError as error:
        raise _wrong(error.message, error.status) from None
    return found


def _wrong(text: str, status: int = 400) -> _Wrong:
    """Return a refusal as what is wrong with a field: its text names that at its end."""
    reason, _, path = text.partition(" - at `$.")
    name = path.partition("`")[0]
    if name == "api_key":
        reason = "A key of Google AI Studio: letters, digits and signs, without spaces."
    elif name in {"account_email", "project"} and "pattern" in reason:
        reason = "Without spaces, slashes or line breaks."
    elif name == "account_email" and "length" in reason:
        reason = "A name that tells it from others, of 200 characters at the most."
    return _Wrong({name or "form": reason[:1].upper() + reason[1:]}, status)


def _same_key(made: dict[str, Any]) -> str:
    same = made.get("same_key_as")
    return f" It has the same key as {', '.join(same)}: they share one quota." if same else ""


async def _account(name: str) -> dict[str, Any]:
    """Return a stored account.

    Raises:
        NotFound: there is none of this id.
    """
    for account in await gemini_accounts.all_accounts():
        if account["id"] == name and account["source"] == "stored":
            return account
    raise NotFound("There is no such account here. Those of the environment are changed there.")


async def _form_page(
    shown: Mapping[str, str], wrong: _Wrong | None = None, account: dict[str, Any] | None = None
) -> Response:
    return await render(
        "models/account.html",
        MODELS,
        status=200 if wrong is None else wrong.status,
        shown=shown,
        wrong={} if wrong is None else wrong.texts,
        account=account,
    )
