"""A request of a client that does not speak chat, as far as a chat has to know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    import msgspec

    from shared.errors import GatewayError


class ClientRequest(Protocol):
    """A request in a dialect other than chat, read.

    Attributes:
        raw: the client's own bytes.
        chat: the same as the body of a chat completion.
        needs: the abilities that it needs and a chat has no fields for, with the client's names of what asks for them.
        may_be_cut: whether its oldest messages may be left out where they are too many for a model.
    """

    @property
    def raw(self) -> bytes | msgspec.Raw: ...
    @property
    def chat(self) -> bytes: ...
    @property
    def needs(self) -> Mapping[str, str]: ...
    @property
    def may_be_cut(self) -> bool: ...
    def fitted(self, room_tokens: int) -> Self:
        """Return it without as many of its oldest messages as do not fit into so many tokens, about."""
        ...

    def shorter(self) -> Self | None:
        """Return it with less of its oldest messages; None where none may be left out."""
        ...

    def named(self, param: str) -> str:
        """Return the client's name of a parameter of the chat."""
        ...

    def name_params(self, error: GatewayError) -> None:
        """Let an error about the chat name the client's own parameters."""
        ...
