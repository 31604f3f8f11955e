"""The operator's own system prompts, as this process last read them."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from shared.openai.prompt_size import estimate_text_tokens
from shared.postgres.database import DatabaseUnavailable
from shared.postgres.system_prompts import SystemPromptStore
from shared.process.tasks import Following
from shared.types import AddedText

if TYPE_CHECKING:
    from shared.postgres.database import Database

_log = logging.getLogger(__name__)

REFRESH_S: Final = 30.0
LOOK_AGAIN_S: Final = 1.0
"""Time after a look until an unknown prompt leads to another one."""


class SystemPrompts(Following):
    """The prompts. News refreshes them at once; a slow poll is the safety net.

    While PostgreSQL does not answer, what was last read holds; before the first reading there is none.

    Args:
        database: where they are.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(REFRESH_S, name="system prompts")
        self._store = SystemPromptStore(database)
        self._by_id: dict[str, AddedText] = {}
        self._default: AddedText | None = None
        self._one_look = asyncio.Lock()
        self._looked_at = float("-inf")
        self._is_behind = False

    async def of_key(self, prompt_id: str | None) -> AddedText | None:
        """Return the prompt of a key: its own, else the default, None where there is neither.

        Args:
            prompt_id: the key's own prompt, if it has one.
        """
        if prompt_id is None:
            return self._default
        if prompt_id not in self._by_id and time.monotonic() - self._looked_at > LOOK_AGAIN_S:
            # News of the key may come before those of its prompt.
            await self.look()
        return self._by_id.get(prompt_id, self._default)

    async def look(self) -> None:
        """Refresh the prompts. One read at a time: an older one must not overwrite what a newer one saw."""
        try:
            async with self._one_look:
                found = await self._store.list()
                texts = {
                    each.id: AddedText("system_prompt", each.content, estimate_text_tokens(each.content))
                    for each in found
                }
                self._by_id = texts
                self._default = next((texts[each.id] for each in found if each.is_default), None)
        except DatabaseUnavailable as error:
            if not self._is_behind:
                _log.warning("the system prompts cannot be read, the last ones stay in effect: %s", error)
            self._is_behind = True
        else:
            self._is_behind = False
        # Also where that failed: not each request shall ask a PostgreSQL that is away.
        self._looked_at = time.monotonic()
