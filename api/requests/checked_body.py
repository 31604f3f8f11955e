"""The facts that are kept of a request's body once its form is checked: not the prompt, which may be large."""

from __future__ import annotations

from typing import Any, Self

import msgspec

from shared.dialects.responses.request import ResponsesRequest
from shared.dialects.stored.pending import StoredHead
from shared.dialects.table import DIALECTS
from shared.errors import InvalidRequest
from shared.models.abilities import Needs, needs_of, without_prompt
from shared.openai.embeddings import decode_embeddings, estimate_embedding_tokens
from shared.openai.messages import first_call_ids
from shared.openai.prompt_size import MostPrompt, estimate_prompt_tokens, most_prompt
from shared.openai.request import ChatBody, decode_chat
from shared.process.tasks import work_beside


class CheckedBody(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a request of a valid form.

    Args:
        model: the name that it asks for.
        prompt_tokens: how long its prompt is, about.
        most_prompt: how much it can send at the most, for budgets.
        needs: what it needs a model to be able to do.
        stream: whether the answer is streamed.
        output_tokens: the most tokens that one choice may have, None where it does not say.
        choices: how many it wants.
        service_tier: the one that it asks for.
        parameters: for chat, all but the prompt and what belongs to it.
        call_ids: of the first call of each earlier turn that has calls.
        dialect: that of the body, for chat.
        stored: how its answer is stored as a response.
        may_be_cut: whether the oldest of its prompt may be left out where it is too long for a model.
    """

    model: str
    prompt_tokens: int
    most_prompt: MostPrompt
    needs: Needs = {}
    stream: bool = False
    output_tokens: int | None = None
    choices: int = 1
    service_tier: str = ""
    parameters: ChatBody | None = None
    call_ids: tuple[str, ...] = ()
    dialect: str = "chat"
    stored: StoredHead | None = None
    may_be_cut: bool = False

    @property
    def for_routing(self) -> dict[str, Any]:
        """Return what routing has to know under the same names."""
        return {name: getattr(self, name) for name in ("service_tier", "dialect", "may_be_cut")}

    @classmethod
    def of_chat(cls, raw: bytes) -> Self:
        """Check the body of a chat completion.

        Raises:
            InvalidRequest: it is wrong; `param` names the field.
        """
        body = decode_chat(raw)
        return cls._of(body, most_prompt(len(raw), body), needs_of(body), "chat")

    @classmethod
    def of_responses(cls, raw: bytes, *, has_session: bool = False) -> Self:
        """Check the body of a request for a response.

        Args:
            raw: the body.
            has_session: whether a session's messages come before its items.

        Raises:
            InvalidRequest: it is wrong; `param` names the field.
        """
        client = ResponsesRequest(raw)
        # The calls that they answer may be among the session's messages.
        if not has_session:
            client.check_results()
        try:
            body = decode_chat(client.chat)
        except InvalidRequest as error:
            client.name_params(error)
            raise
        needs = {**client.needs, **{ability: client.named(param) for ability, param in needs_of(body).items()}}
        # Either may go out: OpenAI gets the client's own bytes, all others get the chat.
        most = most_prompt(max(len(raw), len(client.chat)), body)
        checked = cls._of(body, most, needs, "responses")
        return msgspec.structs.replace(checked, may_be_cut=True) if client.may_be_cut else checked

    @classmethod
    def _of(cls, body: ChatBody, most: MostPrompt, needs: Needs, dialect: str) -> Self:
        return cls(
            model=body.model,
            prompt_tokens=estimate_prompt_tokens(body),
            most_prompt=most,
            needs=needs,
            stream=bool(body.stream),
            output_tokens=body.output_limit,
            choices=body.n or 1,
            service_tier=body.service_tier or "auto",
            parameters=without_prompt(body),
            call_ids=tuple(first_call_ids(body.messages)),
            dialect=dialect,
        )

    @classmethod
    def of_embeddings(cls, raw: bytes) -> Self:
        """Check the body of an embeddings request.

        Raises:
            InvalidRequest: it is wrong; `param` names the field.
        """
        body = decode_embeddings(raw)
        return cls(
            model=body.model, prompt_tokens=estimate_embedding_tokens(body), most_prompt=most_prompt(len(raw), None)
        )

    async def as_chat(self, raw: bytes) -> bytes:
        """Return the body as that of a chat, whatever its dialect."""
        if self.dialect == "chat":
            return raw
        client = await work_beside(len(raw), lambda: DIALECTS[self.dialect].read(raw))
        return raw if client is None else client.chat
