"""What is put before the messages of one request: by its headers, and by the operator's own system prompts.

In this order: the expert's prompt where `x-nself-app` asks for it, else the key's own system prompt, else the default
one; then the client's own instructions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.prompt.expert import expert
from api.prompt.headers import read_headers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.admission.auth import Principal
    from api.prompt.system_prompts import SystemPrompts
    from shared.types import AddedText


class Additions:
    """Knows what to put before a client's messages.

    Args:
        system_prompts: the operator's own.
    """

    def __init__(self, system_prompts: SystemPrompts) -> None:
        self._system_prompts = system_prompts

    async def of(self, headers: Iterable[tuple[bytes, bytes]], principal: Principal) -> tuple[AddedText, ...]:
        """Return what is put before the messages of a request, in its order.

        Args:
            headers: the request's.
            principal: who asks.

        Raises:
            InvalidRequest: a header has a value that it cannot have; `param` names it.
        """
        asked = read_headers(headers)
        first = expert() if asked.app else await self._system_prompts.of_key(principal.system_prompt_id)
        return () if first is None else (first,)
