"""The context that a request has at Ollama, and a check that its prompt is sure to fit. Pure: no I/O.

Source: Ollama's server/prompt.go and runner (what is cut, and when), docs/api.md (`num_ctx`, `num_predict`).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from shared.errors import ContextTooLong, InvalidRequest

IMAGE_TOKENS: Final = 4096
TEMPLATE_TOKENS: Final = 512
"""Tokens that a model's template and its own system prompt may add."""


class ContextRoom(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on the context of a request, in tokens.

    Args:
        usual: what models are loaded with unless the client asks for something else.
        most: the most that a client gets.
        of_model: the most that the model can have, if known.
        cuts: whether the server cuts a prompt that is too long instead of refusing it.
    """

    usual: int
    most: int
    of_model: int | None = None
    cuts: bool = False

    def num_ctx(self, requested: Any) -> int:
        """Return the context to load the model with; `requested` is the client's own `num_ctx`, or None.

        Raises:
            InvalidRequest: `requested` is no length.
        """
        if requested is None:
            wanted = self.usual
        elif isinstance(requested, int) and not isinstance(requested, bool) and requested > 0:
            # A longer context takes memory from every other model on the machine.
            wanted = min(requested, max(self.most, self.usual))
        else:
            raise InvalidRequest("num_ctx must be a whole number of at least 1.", param="num_ctx")
        return wanted if self.of_model is None else min(wanted, self.of_model)


def keep_whole(fields: dict[str, Any]) -> None:
    """Make sure that a server which cuts silently has nothing to cut: neither now, nor as its answer grows.

    Such a server drops messages that do not fit, and shifts the prompt out when the answer fills the context. No token
    is shorter than a byte, so a prompt of fewer bytes than its context has tokens fits, and an answer that is limited
    to the rest stays beside it.

    Args:
        fields: the body to send; its `num_predict` becomes no more than what is left.

    Raises:
        ContextTooLong: the prompt might not fit.
    """
    options = fields["options"]
    messages = [{name: value for name, value in one.items() if name != "images"} for one in fields["messages"]]
    images = sum(len(one.get("images", ())) for one in fields["messages"])
    texts = len(msgspec.json.encode([messages, fields.get("tools", [])]))
    left: int = options["num_ctx"] - (texts + images * IMAGE_TOKENS + TEMPLATE_TOKENS)
    if left <= 0:
        raise ContextTooLong(
            f"This prompt may be longer than the {options['num_ctx']} tokens of the model's context, and this Ollama "
            "is older than 0.12.6: it would cut the prompt instead of refusing it."
        )
    limit = options.get("num_predict")
    options["num_predict"] = min(limit, left) if isinstance(limit, int) and limit > 0 else left
