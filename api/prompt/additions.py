"""Text put before the messages of one request, by its headers and by the operator's own system prompts.

In this order: the expert's prompt where `x-nself-app` asks for it, else the key's own system prompt, else the default
one; then the snapshot of the installation where `x-nself-admin` asks for it; then what the knowledge base has for the
question where `x-nself-knowledge` asks for it; then the client's own instructions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.prompt.expert import expert
from api.prompt.headers import ADMIN_HEADER
from api.prompt.knowledge.context import knowledge_for
from api.prompt.knowledge.fence import FENCE_TOKENS
from shared.errors import ModelNotAllowed, Overloaded
from shared.postgres.audit import INTERNAL_ACTOR
from shared.postgres.database import DatabaseUnavailable

if TYPE_CHECKING:
    from api.admission.auth import Principal
    from api.prompt.admin_context import AdminContext
    from api.prompt.headers import PromptHeaders
    from api.prompt.knowledge.base import Knowledge
    from api.prompt.system_prompts import SystemPrompts
    from shared.postgres.audit import AuditLog
    from shared.types import AddedText
    from shared.usage import UsageRecord

ADMIN_OPERATION = "admin_chat"


class Additions:
    """Knows what to put before a client's messages.

    Args:
        system_prompts: the operator's own.
        admin_context: the snapshot of the installation.
        audit: has an entry for each request that is told the snapshot.
        knowledge: the knowledge base.
        knowledge_tokens: how much of it a request is told at the most, about.
    """

    def __init__(
        self,
        system_prompts: SystemPrompts,
        admin_context: AdminContext,
        audit: AuditLog,
        *,
        knowledge: Knowledge,
        knowledge_tokens: int,
    ) -> None:
        self._system_prompts = system_prompts
        self._admin_context = admin_context
        self._audit = audit
        self._knowledge = knowledge
        self._knowledge_tokens = knowledge_tokens

    async def of(self, headers: PromptHeaders, principal: Principal, record: UsageRecord) -> tuple[AddedText, ...]:
        """Return what is put before the messages of a request, in its order, all but knowledge.

        Args:
            headers: what the request's headers ask for.
            principal: who asks.
            record: names the request and its model, for the audit log.

        Raises:
            ModelNotAllowed: admin mode is asked for with a key that is no admin's.
            Overloaded: it is, and the audit log cannot be written.
        """
        first = expert() if headers.app else await self._system_prompts.of_key(principal.system_prompt_id)
        texts = () if first is None else (first,)
        return (*texts, await self.snapshot(principal, record)) if headers.admin else texts

    async def known(
        self, body: bytes, key_id: str | None, most_tokens: int | None
    ) -> tuple[AddedText | None, dict[str, str]]:
        """Return what the knowledge base has for a request, None where that is nothing, and the response's headers.

        Args:
            body: of the chat, checked.
            key_id: of the key that asks.
            most_tokens: how long it may be, about, beside what the settings say; None where nothing else bounds it.

        Raises:
            Overloaded: the base cannot be read.
        """
        most = self._knowledge_tokens
        if most_tokens is not None:
            most = min(most, most_tokens - FENCE_TOKENS)
        try:
            return await knowledge_for(self._knowledge, body, key_id, most)
        except DatabaseUnavailable:
            raise Overloaded(
                "The knowledge base cannot be read: the database does not answer.",
                code="database_unavailable",
                retry_after_s=2,
            ) from None

    async def snapshot(self, principal: Principal, record: UsageRecord, session_id: str = "") -> AddedText:
        """Return what a request in admin mode is told.

        Args:
            principal: who asks.
            record: names the request and its model, for the audit log.
            session_id: of the session that is in admin mode, where the request itself does not ask for it.

        Raises:
            ModelNotAllowed: the key is no admin's.
            Overloaded: the audit log cannot be written.
        """
        if not principal.admin_allowed:
            raise ModelNotAllowed(
                f"The session {session_id} is in admin mode, and its key is no admin's any more: POST /claw/admin/mode "
                "takes it out of it."
                if session_id
                else f"Only a key with admin_allowed may set {ADMIN_HEADER}.",
                param=ADMIN_HEADER,
                code="admin_not_allowed",
            )
        details = {"request_id": record.request_id, "model": record.requested_model}
        details |= {"session_id": session_id} if session_id else {}
        try:
            # First: nobody is told the state of the installation without an entry that says so.
            await self._audit.add(ADMIN_OPERATION, principal.key_id or INTERNAL_ACTOR, details)
        except DatabaseUnavailable:
            raise Overloaded(
                "The audit log, which admin mode needs, cannot be written: the database does not answer.",
                code="database_unavailable",
                retry_after_s=2,
            ) from None
        return await self._admin_context.added()
