"""Claude's thinking: how it is asked for, kept between the turns of a tool loop, and put back. Pure.

Sources: Anthropic's Messages API (ThinkingConfigParam, OutputConfigParam), "Preserving thinking blocks" and
"Preserved thinking".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from shared.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.providers.anthropic.models import ModelFacts

MIN_BUDGET = 1024
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768, "max": 49_152}
_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}


class Piece(msgspec.Struct, omit_defaults=True):
    """One content block of an assistant turn, as it is kept.

    Thinking is kept whole; of a text only its length, of a call only its place: the client sends those back.
    """

    type: str
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    chars: int = 0

    def to_block(self) -> dict[str, Any]:
        """Return the thinking block, verbatim."""
        if self.type == "redacted_thinking":
            return {"type": self.type, "data": self.data or ""}
        return {"type": self.type, "thinking": self.thinking or "", "signature": self.signature or ""}


class _Kept(msgspec.Struct):
    anthropic: list[Piece]


def is_thought(piece: Piece) -> bool:
    """Return whether a piece is a thinking block."""
    return piece.type in {"thinking", "redacted_thinking"}


def to_kept(pieces: list[Piece]) -> str:
    """Return a turn's blocks as a text."""
    return msgspec.json.encode(_Kept(pieces)).decode()


def from_kept(text: str) -> list[Piece]:
    """Return a turn's blocks; none if the text is not ours."""
    try:
        return msgspec.json.decode(text, type=_Kept).anthropic
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def arrange(pieces: Sequence[Piece], text: str, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return an assistant turn's blocks in their original order, made of kept thinking and the client's text and calls.

    Where the client changed the text or the calls, the thinking comes first.
    """
    chars = sum(piece.chars for piece in pieces)
    places = sum(piece.type == "tool_use" for piece in pieces)
    if chars != len(text) or places != len(calls):
        thoughts = [piece.to_block() for piece in pieces if is_thought(piece)]
        return [*thoughts, *_texts(text), *calls]
    blocks: list[dict[str, Any]] = []
    remaining = iter(calls)
    start = 0
    for piece in pieces:
        if is_thought(piece):
            blocks.append(piece.to_block())
        elif piece.type == "text":
            blocks += _texts(text[start : start + piece.chars])
            start += piece.chars
        else:
            blocks.append(next(remaining))
    return blocks


def _texts(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}] if text.strip() else []


def may_think(facts: ModelFacts, effort: str | None) -> bool:
    """Return whether the model may think about a request, so that its earlier thoughts are of use."""
    return effort != "none" and (effort is not None or facts.default != "off")


def to_thinking(
    effort: str | None, facts: ModelFacts, *, max_tokens: int, forced: bool, is_open: bool
) -> tuple[dict[str, Any] | None, str | None]:
    """Return the `thinking` field and the `output_config.effort` of a request, either of them None for none.

    Thinking excludes a forced tool call, which wins. Where thinking is always on or on by default its summary is
    asked for, so that the stream does not stay silent meanwhile.

    Args:
        effort: the client's `reasoning_effort`.
        facts: what the model takes.
        max_tokens: the request's; thinking counts towards it.
        forced: whether `tool_choice` forces a call.
        is_open: whether the last turn awaits tool results and its thinking is lost. Thinking with a budget must
            not begin there, so the model goes on without.

    Raises:
        Unsupported: the model cannot think as asked.
    """
    if effort is not None and effort not in {"none", *_LEVELS}:
        raise Unsupported(f"This model does not know the effort '{effort}'.", param="reasoning_effort")
    thinks = effort not in {None, "none"}
    if facts.thinking == "none" and thinks:
        raise Unsupported("This model does not reason.", param="reasoning_effort")
    if facts.thinking == "adaptive":
        return _adaptive(effort, facts, forced=forced)
    if not thinks or forced or is_open:
        return None, None
    return {"type": "enabled", "budget_tokens": _budget(effort or "", max_tokens)}, None


def _budget(effort: str, max_tokens: int) -> int:
    """Return the level's budget, but no more than half of the answer's tokens."""
    if max_tokens <= MIN_BUDGET:
        raise Unsupported(
            f"This model reasons with at least {MIN_BUDGET} tokens: allow more than that for the whole answer.",
            param="reasoning_effort",
        )
    return max(MIN_BUDGET, min(_BUDGETS[effort], max_tokens // 2))


def _adaptive(effort: str | None, facts: ModelFacts, *, forced: bool) -> tuple[dict[str, Any] | None, str | None]:
    off = {"type": facts.off} if facts.default == "on" else None
    if effort == "none":
        if facts.default == "always":
            raise Unsupported("This model's reasoning cannot be turned off.", param="reasoning_effort")
        return off, None
    level = None if effort is None else _nearest(_LEVELS[effort], facts.efforts)
    if forced:
        # Without thinking there is no effort above high (a 400 of Opus 5 and Haiku 5.5).
        return off, "high" if off and level in {"xhigh", "max"} else level
    if effort is None and facts.default == "off":
        return None, None
    return {"type": "adaptive", "display": "summarized"}, level


def _nearest(level: str, efforts: tuple[str, ...]) -> str:
    """Return the level itself, else the highest below it that the model has."""
    order = list(_LEVELS.values())
    at_most = [known for known in efforts if order.index(known) <= order.index(level)]
    return at_most[-1] if at_most else efforts[0]
