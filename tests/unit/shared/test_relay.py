"""The relay's wire format."""

from __future__ import annotations

from uuid import UUID

from shared.ids import completion_id, job_id, new_request_id
from shared.relay import Kind, Signal, attempt_key, decode_frames, decode_signals, encode_frame, encode_signal


def test_frames_of_many_attempts_travel_in_one_message() -> None:
    """Each with its key, kind, number, tokens and bytes."""
    first, second = attempt_key("61" * 16, 1), attempt_key("62" * 16, 255)
    frames = [
        (first, Kind.START, 0, 0, b""),
        (second, Kind.CONTENT, 4_000_000_000, 7, bytes(range(256)) * 4),
        (first, Kind.END, 1, 0, b"{}"),
    ]
    message = bytes(16) + b"".join(encode_frame(*frame) for frame in frames)
    assert list(decode_frames(message)) == frames


def test_signals_travel_the_other_way() -> None:
    """Key, kind, number."""
    key = attempt_key("61" * 16, 1)
    message = bytes(16) + encode_signal(key, Signal.ACK, 9) + encode_signal(key, Signal.CANCEL, 0)
    assert list(decode_signals(message)) == [(key, Signal.ACK, 9), (key, Signal.CANCEL, 0)]


def test_request_ids_sort_by_time_and_name_everything() -> None:
    """UUIDs of version 7, whose digits stand in the public id and in the job's."""
    ids = [new_request_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert UUID(ids[0]).version == 7
    assert [one[:12] for one in ids] == sorted(one[:12] for one in ids)
    assert completion_id(ids[0]) == "chatcmpl-" + ids[0]
    assert job_id(ids[0], 2) == ids[0] + "-2"
