"""The log of a backend's accounts: each state once, not with every request that meets it."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.errors import GatewayError
    from workers.accounts.account import Account
    from workers.accounts.outcome import Kind

_log = logging.getLogger(__name__)

NEW_S: Final = 120.0
"""By how much later than last logged an end must be to be news: while a quota slides, or a breaker tries again,
the end moves in small steps."""
_LEVELS: Final[dict[Kind, int]] = {"rejected": logging.ERROR, "failed": logging.WARNING, "throttled": logging.INFO}


class AccountLog:
    """The states of one backend that were logged. A spent quota is daily business; a failure is not.

    Args:
        queue: the backend's queue, which names it.
    """

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._reported: dict[tuple[str, ...], float] = {}

    def cooling_down(
        self, account: Account, model: str, kind: Kind, until_ms: int, error: GatewayError, *, is_alone: bool
    ) -> None:
        """Log that an account failed, and until when it is out of use.

        Args:
            account: which.
            model: for which model; a rejected credential is out of use for every one.
            kind: why.
            until_ms: until when, in ms since 1970; 0 where it is not.
            error: how the attempt ended.
            is_alone: whether the backend has no other account: then the backend is closed, which is not logged again.
        """
        is_rejected = kind == "rejected"
        if is_alone:
            self._is_news(("", "" if is_rejected else model), until_ms)
        if not self._is_news((account.id, kind, "" if is_rejected else model), until_ms):
            return
        if is_rejected:
            rest = "it is the only one, and still tried" if is_alone else "it is not used while others can serve"
            reason = f" (it said: {error.reason})" if error.reason else ""
            _log.error("account %s: its credential was refused%s; %s", account.label, reason, rest)
            return
        _log.log(
            _LEVELS[kind],
            "account %s: %s with %s; it cools down until %s",
            account.label,
            error.code,
            model,
            _clock(until_ms),
        )

    def closed(self, model: str, until_ms: int) -> None:
        """Log until when (ms since 1970) no account can serve a model, `""` for every one."""
        if self._is_news(("", model), until_ms):
            name = model or "any model"
            _log.info("%s: no account can serve %s until %s", self._queue, name, _clock(until_ms))

    def forget(self, gone: Iterable[Account]) -> None:
        """Report the backend's state afresh, and that of the accounts that are gone: the account list was replaced."""
        ids = {"", *(account.id for account in gone)}
        self._reported = {what: until_ms for what, until_ms in self._reported.items() if what[0] not in ids}

    def _is_news(self, what: tuple[str, ...], until_ms: int) -> bool:
        now_ms, new_ms = time.time() * 1000, NEW_S * 1000
        reported_ms = self._reported.get(what, 0.0)
        if until_ms <= reported_ms:
            return False
        # Dropped once it is over for long enough to be news again, so that this does not grow.
        self._reported = {each: ms for each, ms in self._reported.items() if ms + new_ms > now_ms}
        self._reported[what] = until_ms
        return until_ms > reported_ms + new_ms


def _clock(ms: float) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
