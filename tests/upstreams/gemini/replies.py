"""Replies of the Gemini API, built with the `google-genai` package's own types."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from google.genai.types import GenerateContentResponse, Model

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD = {"modelVersion": "scripted", "responseId": "scripted"}


def event(value: Any) -> bytes:
    """Return a server-sent event with JSON data; its lines end in CRLF, as the API's do."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\r\n\r\n"


def chunk(
    *parts: dict[str, Any],
    finish_reason: str | None = None,
    usage: dict[str, int] | None = None,
    index: int = 0,
    logprobs: dict[str, Any] | None = None,
) -> bytes:
    """Return one chunk of a stream with one candidate; a content without parts is left out, as is the index 0."""
    candidate: dict[str, Any] = {"content": {"role": "model", **({"parts": list(parts)} if parts else {})}}
    candidate |= {"finishReason": finish_reason} if finish_reason else {}
    candidate |= {"index": index} if index else {}
    candidate |= {"logprobsResult": logprobs} if logprobs else {}
    return response(candidates=[candidate], **({"usageMetadata": usage} if usage else {}))


def response(**fields: Any) -> bytes:
    """Return any chunk, checked against the published type."""
    given = {**fields, **_HEAD}
    GenerateContentResponse.model_validate_json(json.dumps(given))
    return event(given)


def usage(prompt: int, candidates: int, *, thoughts: int = 0, cached: int = 0) -> dict[str, int]:
    """Return a usageMetadata; counts that are zero are left out, as protobuf's JSON does."""
    counts = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": candidates,
        "thoughtsTokenCount": thoughts,
        "cachedContentTokenCount": cached,
        "totalTokenCount": prompt + candidates + thoughts,
    }
    return {name: count for name, count in counts.items() if count}


def call(args: dict[str, Any] | None = None, name: str = "weather", **part: Any) -> dict[str, Any]:
    """Return a part that is a function call; `id` goes into the call, all else into the part."""
    made: dict[str, Any] = {"name": name, **({"args": args} if args is not None else {})}
    if "id" in part:
        made["id"] = part.pop("id")
    return {"functionCall": made, **part}


def text(*pieces: str, finish_reason: str = "STOP", prompt_tokens: int = 7) -> bytes:
    """Return a whole stream that says `pieces`, one token each, with the usage so far in each chunk."""
    chunks = []
    for number, piece in enumerate(pieces, 1):
        is_last = number == len(pieces)
        counts = usage(prompt_tokens, number)
        chunks.append(chunk({"text": piece}, finish_reason=finish_reason if is_last else None, usage=counts))
    return b"".join(chunks)


def error(code: int, status: str, message: str = "no", details: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Return a google.rpc error body; each detail's `@type` is given by its last part."""
    typed = [{**detail, "@type": f"type.googleapis.com/google.rpc.{detail['@type']}"} for detail in details]
    return {"error": {"code": code, "message": message, "status": status, **({"details": typed} if typed else {})}}


def quota(*quota_ids: str, retry_delay: str | None = "33.5s") -> dict[str, Any]:
    """Return the body of a 429 for these quotas."""
    metric = "generativelanguage.googleapis.com/generate_content_free_tier_requests"
    violations = [{"quotaMetric": metric, "quotaId": quota_id, "quotaValue": "10"} for quota_id in quota_ids]
    details: list[dict[str, Any]] = [{"@type": "Help"}, {"@type": "QuotaFailure", "violations": violations}]
    if retry_delay is not None:
        details.append({"@type": "RetryInfo", "retryDelay": retry_delay})
    return error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", details)


def model_page(models: Sequence[str], context_length: int, next_page_token: str | None = None) -> dict[str, Any]:
    """Return a page of /v1beta/models: chat models, and one that only embeds."""
    listed = [_model(f"models/{name}", context_length, ["generateContent", "countTokens"]) for name in models]
    page: dict[str, Any] = {"models": [*listed, _model("models/embedder", 2048, ["embedContent"])]}
    return page | ({"nextPageToken": next_page_token} if next_page_token else {})


def _model(name: str, context_length: int, methods: list[str]) -> dict[str, Any]:
    fields = {"name": name, "version": "001", "displayName": name, "inputTokenLimit": context_length}
    Model.model_validate(fields)
    return {**fields, "outputTokenLimit": 8192, "supportedGenerationMethods": methods}
