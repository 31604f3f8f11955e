"""What the gateway keeps of a request's body once its form is checked: not the prompt, which may be large."""

from __future__ import annotations

from typing import Self

import msgspec

from shared.models.abilities import Needs, needs_of, without_prompt
from shared.openai.embeddings import decode_embeddings, estimate_embedding_tokens
from shared.openai.messages import first_call_ids
from shared.openai.prompt_size import MostPrompt, estimate_prompt_tokens, most_prompt
from shared.openai.request import ChatBody, decode_chat


class CheckedBody(msgspec.Struct, frozen=True, kw_only=True):
    """What a request of a valid form says.

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

    @classmethod
    def of_chat(cls, raw: bytes) -> Self:
        """Check the body of a chat completion.

        Raises:
            InvalidRequest: it is wrong; `param` names the field.
        """
        body = decode_chat(raw)
        return cls(
            model=body.model,
            prompt_tokens=estimate_prompt_tokens(body),
            most_prompt=most_prompt(len(raw), body),
            needs=needs_of(body),
            stream=bool(body.stream),
            output_tokens=body.output_limit,
            choices=body.n or 1,
            service_tier=body.service_tier or "auto",
            parameters=without_prompt(body),
            call_ids=tuple(first_call_ids(body.messages)),
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
