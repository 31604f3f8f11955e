"""A client's messages and its stored session -> the messages for the model, and those that are new.

The two are matched from the end (docs/api.md): a client that sends the conversation itself is given exactly what it
sends, one that sends only what is new gets what is stored before it. Messages are compared by their digests.
"""

from __future__ import annotations

from collections import Counter
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.openai.sessions.history import INSTRUCTIONS, History, HistoryTurn
from shared.openai.sessions.messages import (
    call_ids,
    calls_of,
    digest_of,
    each_call_id,
    has_media,
    result_id,
    tokens_of,
    without_media,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_encode: Final = msgspec.json.encode


class Known(msgspec.Struct, frozen=True):
    """A message; `place` says where it is stored: the request that brought it, and which of its messages it is."""

    message: dict[str, Any]
    raw: bytes
    digest: bytes
    place: tuple[str, int] | None = None

    @classmethod
    def of(cls, raw: bytes, digest: bytes | None = None, place: tuple[str, int] | None = None) -> Known:
        """Return a message as it is in JSON."""
        message = msgspec.json.decode(raw)
        return cls(message, raw, digest or digest_of(message), place)

    @property
    def role(self) -> str:
        """Return who says it."""
        return str(self.message.get("role"))


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """The merged session.

    Args:
        instructions: of the session, where the client sends none.
        turns: what is put before the client's messages, in whole turns.
        begun: the turn that the client's messages go on with.
        new: what the client sends that is not stored yet.
        after: where the new ones follow, if what is stored after that is superseded; None where they follow all.
    """

    instructions: tuple[Known, ...] = ()
    turns: tuple[tuple[Known, ...], ...] = ()
    begun: tuple[Known, ...] = ()
    new: tuple[Known, ...] = ()
    after: tuple[str, int] | None = None

    @property
    def has_media(self) -> bool:
        """Return whether anything that is put before the client's messages has images, sounds or files."""
        return any(has_media(each.message) for turn in (*self.turns, self.begun) for each in turn)

    def to_history(self, fixed_tokens: int, answer_tokens: int, *, keeps_media: bool = True) -> History:
        """Return it as a job brings it.

        Args:
            fixed_tokens: how long the client's own messages are, and what else is put before them.
            answer_tokens: how long the answer may be, 0 where the request does not say.
            keeps_media: whether the model may be given images, sounds and files of earlier turns.
        """
        beside = sum(tokens_of(each.message) for each in (*self.instructions, *self.begun))
        return History(
            instructions=_listed(self.instructions, keeps_media=True),
            turns=tuple(
                HistoryTurn(sum(tokens_of(each.message) for each in turn), _listed(turn, keeps_media=keeps_media))
                for turn in self.turns
            ),
            begun=_listed(self.begun, keeps_media=keeps_media),
            fixed_tokens=fixed_tokens + beside,
            answer_tokens=answer_tokens,
        )


def merge(stored: Sequence[Known], sent: Sequence[Known], *, is_whole: bool = True) -> Merged:
    """Match what is stored of a session with what a client sends.

    Args:
        stored: in its order, each with its place.
        sent: the client's messages.
        is_whole: whether `stored` is all of the session; else it may begin in the middle of a turn.
    """
    own = tuple(takewhile(_instructs, sent))
    dialogue = sent[len(own) :]
    instructions, kept = _parted(stored)
    if not is_whole:
        kept = _from_a_turns_beginning(kept)
    older, known, after = _matched(kept, dialogue)
    has_new_instructions = own and [each.digest for each in own] != [each.digest for each in instructions]
    turns = _turns(_with_results(older, dialogue))
    begun: tuple[Known, ...] = ()
    if turns and dialogue and dialogue[0].role != "user":
        *turns, begun = turns
    return Merged(
        instructions=() if own else instructions,
        turns=tuple(turns),
        begun=begun,
        new=(*(own if has_new_instructions else ()), *dialogue[known:]),
        after=after,
    )


def merge_anew(stored: Sequence[Known], sent: Sequence[Known], *, is_whole: bool = True) -> Merged:
    """Match a question that is asked again: it and what followed it are superseded. Its arguments: as of `merge`."""
    last = next((number for number in reversed(range(len(stored))) if stored[number].role == "user"), None)
    if last is None:
        return merge(stored, sent, is_whole=is_whole)
    place = stored[last].place
    merged = merge(stored[:last], sent, is_whole=is_whole)
    # The message before it may be none of its request: then the place is the one before that begins.
    return msgspec.structs.replace(merged, after=None if place is None else (place[0], place[1] - 1))


def _instructs(each: Known) -> bool:
    return each.role in INSTRUCTIONS


def _parted(stored: Sequence[Known]) -> tuple[tuple[Known, ...], list[Known]]:
    """Return the newest instructions that a request began with, and the messages without all of those."""
    newest: list[Known] = []
    kept: list[Known] = []
    request, begins = "", False
    for each in stored:
        brought_by, number = each.place or ("", 0)
        is_first, request = brought_by != request, brought_by
        begins = _instructs(each) and (number == 0 if is_first else begins)
        if begins:
            newest = [each] if is_first else [*newest, each]
        else:
            kept.append(each)
    return tuple(newest), kept


def _from_a_turns_beginning(kept: list[Known]) -> list[Known]:
    """Return the messages without the half turn that they may begin with."""
    return next((kept[number:] for number, each in enumerate(kept) if each.role == "user"), [])


def _matched(stored: list[Known], dialogue: Sequence[Known]) -> tuple[Sequence[Known], int, tuple[str, int] | None]:
    """Return what goes before the client's messages, how many of those are stored, and after what the others follow."""
    first_answer = next((number for number, each in enumerate(dialogue) if each.role == "assistant"), None)
    if first_answer is None:
        # Nobody who keeps the conversation sends only his own side of it.
        return stored, 0, None
    theirs, ours = [each.digest for each in dialogue], [each.digest for each in stored]
    to_end = _common_prefixes(ours[::-1], theirs[::-1])[::-1]
    longest = max(to_end)
    # The last of the longest: what follows it is new.
    last = max(place for place, run in enumerate(to_end) if run == longest)
    # What the client begins with may stand anywhere, if that is more: it has edited the end, or wants another answer.
    run, begin = max(
        ((run, begin) for begin, run in enumerate(_common_prefixes(theirs, ours)) if not begin or run > first_answer),
        default=(0, 0),
    )
    if longest and (longest == last + 1 or longest >= run):
        return stored[: len(stored) - longest] if longest == last + 1 else [], last + 1, None
    if run:
        return stored[:begin], run, stored[begin + run - 1].place
    newest = max(number for number, each in enumerate(dialogue) if each.role == "assistant")
    return [], newest + 1, None


def _common_prefixes(pattern: list[bytes], text: list[bytes]) -> list[int]:
    """Return for each place of `text` how long the beginning of `pattern` is that stands there (the Z algorithm)."""
    whole: list[bytes | None] = [*pattern, None, *text]
    lengths = [0] * len(whole)
    left = right = 0
    for place in range(1, len(whole)):
        length = min(right - place, lengths[place - left]) if place < right else 0
        while place + length < len(whole) and whole[length] == whole[place + length]:
            length += 1
        lengths[place] = length
        if place + length > right:
            left, right = place, place + length
    return lengths[len(pattern) + 1 :]


def _with_results(older: Sequence[Known], dialogue: Sequence[Known]) -> list[Known]:
    """Return the messages without calls that have no result, and without results that have no call."""
    whole = [*older, *dialogue]
    found: list[Known] = []
    waiting: Counter[str] = Counter()
    for number, each in enumerate(older):
        result = result_id(each.message)
        if result is not None:
            if waiting[result]:
                waiting[result] -= 1
                found.append(each)
            continue
        waiting = Counter()
        if not calls_of(each.message):
            found.append(each)
            continue
        following = takewhile(lambda one: result_id(one.message) is not None, whole[number + 1 :])
        if call_ids(each.message) <= {str(result_id(one.message)) for one in following}:
            waiting = Counter(each_call_id(each.message))
            found.append(each)
        elif (mended := _without_calls(each)) is not None:
            found.append(mended)
    return found


def _without_calls(each: Known) -> Known | None:
    """Return a message without its calls; None where nothing is left of it."""
    if not each.message.get("content"):
        return None
    message = {name: value for name, value in each.message.items() if name not in {"tool_calls", "function_call"}}
    return msgspec.structs.replace(each, message=message, raw=_encode(message))


def _turns(messages: Sequence[Known]) -> list[tuple[Known, ...]]:
    """Return the messages in turns: from one of the user to before the next one."""
    turns: list[list[Known]] = []
    for each in messages:
        if each.role == "user" or not turns:
            turns.append([])
        turns[-1].append(each)
    return [tuple(turn) for turn in turns]


def _listed(messages: Sequence[Known], *, keeps_media: bool) -> msgspec.Raw:
    raws = [
        each.raw if keeps_media or not has_media(each.message) else _encode(without_media(each.message))
        for each in messages
    ]
    return msgspec.Raw(b"[" + b",".join(raws) + b"]")
