"""The frames of one attempt on their way to an api process."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.relay import ID_SIZE, KEY_SIZE, MAX_PAYLOAD, Kind, decode_frames
from workers.relay.outgoing import OutgoingStream, SendWindow

SIZES = st.sampled_from([0, 1, 2, 1000, MAX_PAYLOAD // 2, MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1])


async def no_pace() -> None:
    """Wait for nothing."""


@given(sizes=st.lists(SIZES, min_size=1, max_size=20))
async def test_a_body_in_pieces_is_the_same_in_as_few_frames(sizes: list[int]) -> None:
    """Whatever its pieces are; its tokens count with the last frame alone, without which it is not whole."""
    stream = OutgoingStream(b"k" * KEY_SIZE, SendWindow(), on_change=lambda *_: None, pace=no_pace)
    pieces = [b"%c" % (97 + number) * size for number, size in enumerate(sizes)]
    await stream.push_body(pieces, 7, timeout_s=60)
    frames = list(decode_frames(b"w" * ID_SIZE + b"".join(stream.frames)))
    assert b"".join(payload for *_, payload in frames) == b"".join(pieces)
    assert all(kind == Kind.BODY and 0 < len(payload) <= MAX_PAYLOAD for _, kind, _, _, payload in frames)
    assert [tokens for _, _, _, tokens, _ in frames] == [*[0] * (len(frames) - 1), 7][: len(frames)]
    assert all(len(a) + len(b) > MAX_PAYLOAD for (*_, a), (*_, b) in pairwise(frames))
