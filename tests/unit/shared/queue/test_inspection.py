"""What is read of a job without its prompt."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ids import job_id, new_request_id
from shared.queue.arq_queue import encode_heads, encode_rest
from shared.queue.inspection import HEAD_BYTES, Place, admitted_ms_of, head_of
from shared.queue.placement import PRIORITIES
from shared.queue.story import MOST_DETAIL_CHARS, MOST_STORY, StoryEvent
from shared.types import AddedText, JobDraft, Target

_texts = st.text(max_size=60) | st.sampled_from([',"body":', '","body":{', '\\",\\"added\\":[', '\u2028,"added":'])


def _job(draft: JobDraft, target: Target) -> bytes:
    return encode_heads([target], [False], draft.story)[0] + encode_rest(draft)


@given(model=_texts, asked=_texts.filter(bool), content=_texts, added=_texts)
def test_the_head_is_what_was_enqueued_whatever_the_texts_are(model: str, asked: str, content: str, added: str) -> None:
    """No name can look like the start of the prompt, and no prompt is read."""
    draft = JobDraft(
        request_id=new_request_id(), attempt=3, api_id="11" * 16, endpoint="chat", requested_model=asked, stream=True,
        key_id=asked, admitted_ms=1_800_000_000_000, expires_ms=1, added=(AddedText("app", added, 1),),
        body=msgspec.Raw(msgspec.json.encode({"model": asked, "messages": content})),
    ).noted("moved", model)  # fmt: skip
    head = head_of(_job(draft, Target("paid", "arq:queue:paid:x", model))[:HEAD_BYTES])
    assert head is not None
    assert (head.model, head.requested_model, head.key_id, head.tier) == (model, asked, asked, "paid")
    assert [event.detail for event in head.story] == [model]


@pytest.mark.parametrize("character", ["\U0001f600", "\x01", '"'])
def test_the_longest_story_is_within_what_is_read(character: str) -> None:
    """However its characters are encoded."""
    story = (StoryEvent(1_800_000_000_000, "cancelled", character * MOST_DETAIL_CHARS),) * MOST_STORY
    draft = JobDraft(
        request_id=new_request_id(), attempt=1, api_id="11" * 16, endpoint="chat", requested_model="m", stream=True,
        admitted_ms=1, expires_ms=1, story=story, body=msgspec.Raw(b"{}"),
    )  # fmt: skip
    head = head_of(_job(draft, Target("local", "q", character * 256))[:HEAD_BYTES])
    assert head is not None
    assert head.story == story
    assert draft.noted("moved", "no room") == draft


def test_what_is_no_job_has_no_head() -> None:
    """Nor has one whose body its worker alone has."""
    assert head_of(b"") is None
    assert head_of(b'{"k":{},"body":1}') is None
    assert head_of(b'{"t":null,"f":"attempt"') is None


def test_a_jobs_id_says_when_it_was_admitted() -> None:
    """And an id of others says nothing."""
    assert admitted_ms_of(job_id("018f0000000070008000000000000000", 1)) == 0x018F00000000
    assert admitted_ms_of("of somebody else") is None


def test_a_score_says_the_priority() -> None:
    """Whatever the fair share made of it."""
    for name, added in PRIORITIES.items():
        for late in (-86_400_000, 0, 86_400_000):
            assert Place("job", 1, 1e12 * 1.79 + added + late).priority == name
