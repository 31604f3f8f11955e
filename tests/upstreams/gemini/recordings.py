"""How the Gemini API answers the recordings that every provider must get right, and what it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.upstreams.gemini import replies as gemini

if TYPE_CHECKING:
    from tests.upstreams.recordings import Recording

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "weather", "description": "The weather", "parametersJsonSchema": WEATHER}
SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
_ROME = gemini.call({"city": "Rome"})


def said(role: str, *texts: str) -> dict[str, Any]:
    """Return a turn of text."""
    return {"role": role, "parts": [{"text": text} for text in texts]}


_HELLO = said("user", "Hello")
_RESULTS = [
    _HELLO,
    {
        "role": "model",
        "parts": [
            {**_ROME, "thoughtSignature": "skip_thought_signature_validator"},
            gemini.call({}, name="time"),
        ],
    },
    {
        "role": "user",
        "parts": [
            {"functionResponse": {"name": "weather", "response": {"output": "sun"}}},
            {"functionResponse": {"name": "time", "response": {"output": "noon"}}},
        ],
    },
]
_IMAGE = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
_SAMPLING = {
    "temperature": 0.5, "topP": 0.9, "topK": 40, "seed": 7, "stopSequences": ["END"], "maxOutputTokens": 5,
    "frequencyPenalty": 0.1, "presencePenalty": -0.1,
}  # fmt: skip
_LOGPROBS = {
    "chosenCandidates": [{"token": "Hi", "tokenId": 1, "logProbability": -0.1}],
    "topCandidates": [{"candidates": [{"token": "Yo", "tokenId": 2, "logProbability": -3.0}]}],
}


def _config(**fields: Any) -> dict[str, Any]:
    return {"generationConfig": fields}


_GROUNDING = {
    "groundingChunks": [{"web": {"uri": "https://example.com/a", "title": "A page"}}],
    "groundingSupports": [
        {"segment": {"startIndex": 10, "endIndex": 18, "text": "Grüße!"}, "groundingChunkIndices": [0]}
    ],
    "webSearchQueries": ["rain"],
}
ANSWERS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "plain": (
        gemini.text("Hel", "lo"),
        {"contents": [_HELLO], "generationConfig": None, "systemInstruction": None, "tools": None},
    ),
    "characters of several bytes": (gemini.text("Grü", "ße 🌍", "日本"), {}),
    "system and developer": (
        gemini.text("ok"),
        {"systemInstruction": {"parts": [{"text": "A"}, {"text": "B"}]}, "contents": [_HELLO]},
    ),
    "several turns": (gemini.text("again"), {"contents": [_HELLO, said("model", "Hi"), _HELLO]}),
    "a tool call in pieces": (
        gemini.chunk(_ROME) + gemini.chunk(finish_reason="STOP", usage=gemini.usage(20, 9)),
        {"tools": [{"functionDeclarations": [TOOL]}], "toolConfig": None},
    ),
    "text and several tool calls": (
        gemini.chunk({"text": "I look."}, usage=gemini.usage(20, 2))
        + gemini.chunk(_ROME)
        + gemini.chunk(gemini.call({"city": "Oslo"}), finish_reason="STOP", usage=gemini.usage(20, 9)),
        {},
    ),
    "tool results back": (gemini.text("Sunny"), {"contents": _RESULTS}),
    "functions, as they were before tools": (
        gemini.chunk(gemini.call({"city": "Oslo"}), finish_reason="STOP", usage=gemini.usage(20, 9)),
        {
            "tools": [{"functionDeclarations": [TOOL]}],
            "contents": [
                _HELLO,
                {"role": "model", "parts": [{**_ROME, "thoughtSignature": "skip_thought_signature_validator"}]},
                {
                    "role": "user",
                    "parts": [{"functionResponse": {"name": "weather", "response": {"output": "sun"}}}],
                },
            ],
        },
    ),
    "an image": (
        gemini.text("A pixel"),
        {"contents": [{"role": "user", "parts": [{"text": "What is it?"}, _IMAGE]}]},
    ),
    "JSON mode": (gemini.text('{"a":', "1}"), _config(responseMimeType="application/json")),
    "a JSON schema": (
        gemini.text('{"answer":42}'),
        _config(responseMimeType="application/json", responseJsonSchema=SCHEMA),
    ),
    "sampling": (gemini.text("cut", finish_reason="MAX_TOKENS"), _config(**_SAMPLING)),
    "reasoning": (
        gemini.chunk({"text": "Let me", "thought": True})
        + gemini.chunk({"text": " think", "thought": True})
        + gemini.chunk({"text": "42"}, finish_reason="STOP", usage=gemini.usage(9, 5, cached=4)),
        _config(thinkingConfig={"thinkingLevel": "HIGH", "includeThoughts": True}),
    ),
    "log probabilities": (
        gemini.chunk({"text": "Hi"}, finish_reason="STOP", usage=gemini.usage(7, 1), logprobs=_LOGPROBS),
        _config(responseLogprobs=True, logprobs=1),
    ),
    "an answer with sources": (
        gemini.chunk({"text": "It rains. "})
        + gemini.chunk({"text": "Grüße!"})
        + gemini.response(
            candidates=[{"content": {"role": "model"}, "finishReason": "STOP", "groundingMetadata": _GROUNDING}],
            usageMetadata=gemini.usage(7, 2),
        ),
        {},
    ),
}
"""Each recording's reply, and the fields that the request must have. "nothing said" is no answer here."""


def teach(recording: Recording) -> None:
    """Give a recording its Gemini side."""
    if recording.name in ANSWERS:
        recording.replies["gemini"], recording.sent["gemini"] = ANSWERS[recording.name]
