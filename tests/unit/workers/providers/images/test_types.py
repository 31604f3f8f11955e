"""An image is what its bytes say, whatever a client calls it: OpenAI looks at them, and Claude and Gemini refuse."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from shared.models.abilities import needs_of
from shared.openai.image_types import image_type
from tests.upstreams.outcome import HELLO, chat
from workers.providers.anthropic.models import facts_of
from workers.providers.anthropic.request import to_body
from workers.providers.gemini.messages import Known, to_contents

BYTES = {
    "image/jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01",
    "image/png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "image/gif": b"GIF89a\x01\x00\x01\x00",
    "image/webp": b"RIFF\x24\x00\x00\x00WEBPVP8 ",
}
MISLABELLED = [
    (f"image/{label}", kind)
    for kind in BYTES
    for label in ("jpg", "jpeg", "png", "gif", "webp", "bmp", "x-png")
]  # fmt: skip


def asking(label: str, content: bytes) -> dict[str, Any]:
    """Return a request with one image."""
    url = f"data:{label};base64,{base64.b64encode(content).decode()}"
    return {**HELLO, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}


def sent_types(asked: dict[str, Any]) -> tuple[str, str]:
    """Return as what Claude and Gemini are sent the image."""
    claude = json.loads(to_body(chat(asked), "claude-sonnet-4-5", facts_of("claude-sonnet-4-5")).content)
    _, contents = to_contents(chat(asked).body.messages, Known())
    source = claude["messages"][0]["content"][0]["source"]
    return source["media_type"], contents[0]["parts"][0]["inlineData"]["mimeType"]


@pytest.mark.parametrize(("label", "kind"), MISLABELLED)
def test_a_mislabelled_image_goes_out_as_what_it_is(label: str, kind: str) -> None:
    """Claude answers with 400 where label and bytes differ, and both know no `image/jpg`."""
    asked = asking(label, BYTES[kind] + bytes(50))
    assert sent_types(asked) == (kind, kind)
    assert "rare_images" not in needs_of(chat(asked).body)


@pytest.mark.parametrize(("label", "kind"), [("image/jpg", "image/jpeg"), ("image/x-png", "image/png")])
def test_what_says_nothing_has_the_proper_name_of_its_label(label: str, kind: str) -> None:
    """The bytes may be of a kind that nobody knows here."""
    asked = asking(label, b"what is this?")
    assert sent_types(asked) == (kind, kind)
    assert "rare_images" not in needs_of(chat(asked).body)


def test_an_image_that_not_everyone_takes_is_asked_of_those_who_do() -> None:
    """Its label alone speaks for it."""
    assert "rare_images" in needs_of(chat(asking("image/bmp", b"BM" + bytes(60))).body)


@pytest.mark.parametrize("begin", [b"", b"\xff", b"RIFF", b"RIFF1234WAVE"])
def test_what_is_too_short_is_what_it_is_called(begin: bytes) -> None:
    """Nothing else is known of it."""
    assert image_type("image/png", begin) == "image/png"
