"""The fields of a request for a response that are about stored ones, read from its own JSON. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_encode: Final = msgspec.json.encode
_TRUE: Final = msgspec.Raw(b"true")
_FALSE: Final = msgspec.Raw(b"false")


class _Conversation(msgspec.Struct):
    id: str


class _Fields(msgspec.Struct):
    """The fields that are looked at; what is wrong with any is said where the whole body is checked."""

    previous_response_id: str | None = None
    conversation: str | _Conversation | None = None
    store: bool | None = None
    background: bool | None = None


class _Item(msgspec.Struct):
    type: Any = None
    id: Any = None
    role: Any = None

    @property
    def reference(self) -> str | None:
        """Return the id of the item that this one stands for."""
        # OpenAI's schema lets a reference leave out its type (ItemReferenceParam), and a message too.
        is_reference = self.type == "item_reference" or (self.type is None and self.role is None)
        return self.id if is_reference and isinstance(self.id, str) else None


class StateFields:
    """The fields of a request that are about stored responses.

    Args:
        raw: its JSON.

    Attributes:
        references: the ids of stored items that its own stand for, by their numbers.

    Raises:
        MsgspecError, RecursionError, UnicodeError: it is not what it must be.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        named = msgspec.json.decode(raw, type=_Fields)
        conversation = named.conversation
        self.previous = named.previous_response_id
        self.conversation = conversation.id if isinstance(conversation, _Conversation) else conversation
        self.store = named.store
        self.is_background = bool(named.background)
        self._input = self._fields.get("input", msgspec.Raw(b"null"))
        self._is_list = bytes(memoryview(self._input)[:1]) == b"["  # no copy of all of it, which may be large
        items = msgspec.json.decode(self._input, type=list[_Item]) if self._is_list else []
        self.references = {number: name for number, item in enumerate(items) if (name := item.reference) is not None}

    @property
    def input_bytes(self) -> int:
        """Return how large its own items are."""
        return len(self._input)

    @property
    def about_stored(self) -> list[str]:
        """Return the fields that it has and that need stored responses."""
        given = {
            "previous_response_id": self.previous is not None,
            "conversation": self.conversation is not None,
            "background": self.is_background,
        }
        return [name for name, is_given in given.items() if is_given]

    def body(self, *, store: bool, earlier: Sequence[dict[str, Any]], referred: Mapping[str, dict[str, Any]]) -> bytes:
        """Return its JSON as it goes on.

        Args:
            store: whether it will be stored.
            earlier: the items that come before its own.
            referred: those that its own stand for, by id.

        Raises:
            InvalidRequest: an item that one of its own stands for is missing.
        """
        fields = {**self._fields, "store": _TRUE if store else _FALSE}
        if self.conversation is not None:
            fields["conversation"] = msgspec.Raw(_encode({"id": self.conversation}))
        if earlier or self.references:
            fields["input"] = msgspec.Raw(_encode([*earlier, *self._own(referred)]))
        return _encode(fields)

    def _own(self, referred: Mapping[str, dict[str, Any]]) -> list[Any]:
        if not self._is_list:
            # A text is a message of the user.
            text = msgspec.json.decode(self._input)
            return [] if text is None else [{"role": "user", "content": text}]
        own: list[Any] = msgspec.json.decode(self._input, type=list[msgspec.Raw])
        for number, name in self.references.items():
            if name not in referred:
                raise InvalidRequest(
                    f"Item with id '{name[:100]}' not found.", param=f"input[{number}].id", code="item_not_found"
                )
            own[number] = referred[name]
        return own


def state_fields_of(raw: bytes) -> StateFields | None:
    """Return what a request says of stored responses; None where it is wrong, which its check will say."""
    try:
        return StateFields(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None
