"""One account at an upstream, and an attempt's hold on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.models.catalogue import Quota
from workers.accounts.state import AccountCandidate, Reservation

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.types import Usage
    from workers.providers.base import Provider


class Account:
    """A credential and the provider that uses it.

    Args:
        account_id: its name in Redis; reveals nothing of the credential.
        name: for people, in logs; without it there is only the id.
        provider: speaks to the upstream with this credential.
        fingerprint: changes with the credential, so that a new one is not taken for the one that was rejected.
        scope: what its quotas are counted by; itself, if it shares them with no other.
        quota: its own limits; those that are None are the model's.
    """

    def __init__(
        self,
        account_id: str,
        provider: Provider,
        *,
        fingerprint: str,
        name: str | None = None,
        scope: str | None = None,
        quota: Quota | None = None,
    ) -> None:
        self.id = account_id
        self.label = f"{name} ({account_id})" if name else account_id
        self.provider = provider
        self.fingerprint = fingerprint
        self.scope = scope or account_id
        self.quota = quota or Quota()
        self._leases = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def as_candidate(self, of_model: Quota) -> AccountCandidate:
        """Return the account as the scripts see it, with its limits for a model.

        Args:
            of_model: the limits of a model for every account.
        """
        own = self.quota
        quota = Quota(
            requests_per_minute=own.requests_per_minute or of_model.requests_per_minute,
            prompt_tokens_per_minute=own.prompt_tokens_per_minute or of_model.prompt_tokens_per_minute,
            requests_per_day=own.requests_per_day or of_model.requests_per_day,
        )
        return AccountCandidate(self.id, self.scope, self.fingerprint, quota)

    def take(self) -> None:
        """Count an attempt that uses the account."""
        self._leases += 1
        self._idle.clear()

    def release(self) -> None:
        """Count an attempt that has ended."""
        self._leases -= 1
        if not self._leases:
            self._idle.set()

    async def close(self) -> None:
        """Close its connections once no attempt uses them any more."""
        # An account that was replaced may still have attempts; their connections are not closed under them.
        await self._idle.wait()
        await self.provider.close()


class Lease:
    """An attempt's hold on an account.

    Args:
        account: which one.
        model: what is asked for.
        reservation: what was taken for it; None where nothing was.
        on_answer: called when the account begins to answer.
    """

    def __init__(
        self,
        account: Account,
        model: str,
        reservation: Reservation | None,
        on_answer: Callable[[Lease], None] | None = None,
    ) -> None:
        self._on_answer = on_answer
        self.provider = account.provider
        self.account = account
        self.model = model
        self.reservation = reservation
        self.prompt_tokens: int | None = None
        self.all_tokens = 0
        self.answers = False

    def began(self) -> None:
        """Record that the account has begun to answer."""
        if not self.answers:
            self.answers = True
            if self._on_answer is not None:
                self._on_answer(self)

    def used(self, usage: Usage | None) -> None:
        """Return what the upstream says that the attempt used, if it says that."""
        if usage is not None:
            self.prompt_tokens = usage.prompt_tokens
            self.all_tokens = usage.prompt_tokens + usage.completion_tokens
