"""What is particular to the `ollama` provider."""

from __future__ import annotations

import pytest

from shared import errors
from shared.types import LocalModel
from tests.upstreams.gemini.serving import asking_for_images
from tests.upstreams.ollama import replies as ollama_replies
from tests.upstreams.ollama.provider import NUM_CTX
from tests.upstreams.outcome import HELLO, complete, outcome_of, provider_for, serving
from tests.upstreams.scripted import Act, Answer, ScriptedUpstream, json_answer, ndjson
from workers.providers.http import upstream as upstream_module
from workers.providers.ollama.provider import OllamaProvider

TEXT = ollama_replies.text("Hello")


async def test_models_are_listed_with_what_they_can_once_per_digest() -> None:
    """/api/show is asked once for a model, and again when the model has changed."""
    async with serving("ollama") as (upstream, provider):
        expected = [
            LocalModel("scripted", 1767218400, NUM_CTX, ("chat",), loads_on_request=True, can_extend_context=True)
        ]
        assert list(await provider.models()) == expected
        assert list(await provider.models()) == expected
        assert [request.path for request in upstream.route_requests].count("/api/show") == 1
        tags = ollama_replies.tags(["scripted"])
        tags["models"][0]["digest"] = "sha256:changed"
        upstream.routes["/api/tags"] = json_answer(tags)
        upstream.routes["/api/show"] = json_answer(ollama_replies.show(1024, ["completion"]))
        cannot = ("tools", "images", "reasoning_effort")
        assert list(await provider.models()) == [
            LocalModel("scripted", 1767218400, 1024, ("chat",), cannot, loads_on_request=True, can_extend_context=True)
        ]


@pytest.mark.parametrize(
    ("name", "capabilities", "endpoints", "cannot"),
    [
        ("m", ["completion", "tools", "thinking"], ("chat",), ("images",)),
        ("m", ["completion", "vision", "insert"], ("chat",), ("tools", "reasoning_effort")),
        ("m", None, ("chat",), ()),
        ("m", ["embedding"], ("embeddings",), ()),
        ("qwen-embed", ["completion", "embedding"], ("embeddings",), ("tools", "images", "reasoning_effort")),
    ],
)
async def test_what_a_model_cannot_do_is_what_its_capabilities_lack(
    name: str, capabilities: list[str] | None, endpoints: tuple[str, ...], cannot: tuple[str, ...]
) -> None:
    """A server that names none (before 0.6.4) may have them all; a name still tells what embeds."""
    async with ScriptedUpstream([name]) as upstream:
        upstream.routes["/api/show"] = json_answer(ollama_replies.show(1024, capabilities))
        provider = provider_for("ollama", upstream.url)
        (model,) = await provider.models()
        await provider.close()
    assert (model.endpoints, model.cannot) == (endpoints, cannot)


async def test_a_model_in_memory_is_reported_from_one_that_must_be_loaded() -> None:
    """A server that does not say has none in memory, and goes on serving."""
    async with ScriptedUpstream(["cold", "warm"]) as upstream:
        provider = provider_for("ollama", upstream.url)
        for answer, loaded in (
            (json_answer(ollama_replies.running(["warm"])), [False, True]),
            (json_answer({"error": "no"}, 500), [False, False]),
        ):
            upstream.routes["/api/ps"] = answer
            assert [model.is_loaded for model in await provider.models()] == loaded
        await provider.close()


async def test_a_server_that_never_answers_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question about models has a bound of its own: nobody else waits for it."""
    monkeypatch.setattr(upstream_module, "FETCH_BOUND_S", 0.1)
    async with serving("ollama") as (upstream, provider):
        upstream.routes["/api/tags"] = Answer([Act.HANG])
        with pytest.raises(errors.Unavailable):
            await provider.models()


@pytest.mark.parametrize(
    ("version", "cuts"),
    [
        (json_answer({"version": "0.12.5"}), True),
        (json_answer({"version": "0.9.10"}), True),
        (json_answer({"version": "0.12.6"}), False),
        (json_answer({"version": "0.12.6-rc1"}), False),
        (json_answer({"version": "1.0.0"}), False),
        (json_answer({"version": "0.0.0"}), False),
        (json_answer({"version": "custom"}), True),
        (json_answer({}, 404), True),
    ],
)
async def test_a_server_that_would_cut_the_prompt_does_not_get_it(version: Answer, cuts: bool) -> None:  # noqa: FBT001 -- a case
    """Before 0.12.6 `truncate` is unknown there; a server that does not say its version is taken to be older."""
    long = {**HELLO, "messages": [{"role": "user", "content": "x" * NUM_CTX}]}
    async with serving("ollama") as (upstream, provider):
        upstream.routes["/api/version"] = version
        upstream.add(ndjson(TEXT), ndjson(TEXT))
        await provider.models()
        await complete(provider)
        assert ("num_predict" in upstream.requests[0].body["options"]) is cuts
        if not cuts:
            await complete(provider, long)
            return
        with pytest.raises(errors.ContextTooLong):
            await complete(provider, long)
        assert len(upstream.requests) == 1


async def test_the_version_is_asked_for_again() -> None:
    """The server may be updated under way, and its silence for a moment changes nothing."""
    long = {**HELLO, "messages": [{"role": "user", "content": "x" * NUM_CTX}]}
    async with serving("ollama") as (upstream, provider):
        upstream.routes["/api/version"] = json_answer({"version": "0.12.5"})
        await provider.models()
        upstream.routes["/api/version"] = json_answer({"version": "0.13.0"})
        await provider.models()
        upstream.routes["/api/version"] = json_answer({}, 500)
        await provider.models()
        upstream.add(ndjson(TEXT))
        await complete(provider, long)


async def test_an_answer_to_a_cut_prompt_is_an_error() -> None:
    """A server that cuts although it was told not to is found out by its count."""
    long = {**HELLO, "messages": [{"role": "user", "content": "word " * NUM_CTX * 2}]}
    async with serving("ollama") as (upstream, provider):
        upstream.add(ndjson(ollama_replies.text("Hello", prompt_tokens=NUM_CTX)), ndjson(TEXT))
        with pytest.raises(errors.StreamBroken):
            await complete(provider, long)
        assert outcome_of(await complete(provider, long)).content == "Hello"


async def test_a_model_without_levels_of_thinking_is_reported_to_think() -> None:
    """Asked once more, and from then on at once; what the client itself says of `think` stays."""
    refusal = json_answer({"error": 'think value "high" is not supported for this model'}, 400)
    asked = {**HELLO, "reasoning_effort": "high"}
    async with serving("ollama") as (upstream, provider):
        upstream.add(refusal, ndjson(TEXT), ndjson(TEXT), refusal)
        await complete(provider, asked)
        await complete(provider, asked)
        with pytest.raises(errors.Unsupported):
            await complete(provider, {**HELLO, "think": "high"})
        assert [request.body["think"] for request in upstream.requests] == ["high", True, True, "high"]


async def test_images_by_address_are_fetched() -> None:
    """Each once; the bytes go out in their message. Without a fetcher they are refused by their place."""
    asked: list[str] = []

    async def fetch(url: str) -> tuple[str, bytes]:
        asked.append(url)
        return "image/png", url.encode()

    async with ScriptedUpstream() as upstream:
        upstream.add(ndjson(TEXT))
        provider = OllamaProvider(upstream.url, NUM_CTX, fetch_image=fetch)
        await complete(provider, asking_for_images("http://a/1", "http://b/2", "http://a/1"))
        await provider.close()
        images = upstream.requests[0].body["messages"][0]["images"]
    assert asked == ["http://a/1", "http://b/2"]
    assert images == ["aHR0cDovL2EvMQ==", "aHR0cDovL2IvMg==", "aHR0cDovL2EvMQ=="]
    async with serving("ollama") as (upstream, bare):
        with pytest.raises(errors.Unsupported) as caught:
            await complete(bare, asking_for_images("http://a/1"))
        assert caught.value.param == "messages[0].content[0].image_url.url"
        assert not upstream.requests


async def test_nothing_is_fetched_for_a_request_that_is_refused() -> None:
    """The client gets its answer at once, and nobody is bothered."""

    async def fetch(url: str) -> tuple[str, bytes]:
        raise AssertionError(url)

    provider = OllamaProvider("http://127.0.0.1:1", NUM_CTX, fetch_image=fetch)
    with pytest.raises(errors.Unsupported):
        await complete(provider, {**asking_for_images("http://a/1"), "n": 2})
    await provider.close()


async def test_a_model_that_cannot_be_shown_has_no_known_context_yet() -> None:
    """It is listed all the same, and asked for again the next time."""
    async with serving("ollama") as (upstream, provider):
        shown = upstream.routes["/api/show"]
        upstream.routes["/api/show"] = json_answer({"error": "gone"}, 404)
        assert [model.context_length for model in await provider.models()] == [None]
        upstream.routes["/api/show"] = shown
        assert [model.context_length for model in await provider.models()] == [NUM_CTX]


async def test_num_ctx_is_capped_once_the_models_context_is_known() -> None:
    """Before the first listing the operator's value goes out; after it, no more than the model has."""
    async with ScriptedUpstream(["scripted:latest"], context_length=1000) as upstream:
        provider = provider_for("ollama", upstream.url)
        upstream.add(ndjson(TEXT), ndjson(TEXT))
        await complete(provider)
        await provider.models()
        await complete(provider)
        await provider.close()
        assert [request.body["options"]["num_ctx"] for request in upstream.requests] == [NUM_CTX, 1000]


async def test_a_prompt_that_is_too_long_is_never_answered() -> None:
    """The server's refusal is the caller's error."""
    async with serving("ollama") as (upstream, provider):
        upstream.add(json_answer({"error": "the input length exceeds the context length"}, 400))
        with pytest.raises(errors.ContextTooLong):
            await complete(provider)


async def test_a_request_that_cannot_be_translated_never_leaves() -> None:
    """The upstream does not see what would be refused."""
    async with serving("ollama") as (upstream, provider):
        with pytest.raises(errors.InvalidRequest):
            await complete(provider, {"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 2})
        assert not upstream.requests


@pytest.mark.parametrize("body", [{"models": 7}, 7, "x"])
async def test_a_list_of_models_that_cannot_be_read_is_malformed(body: object) -> None:
    """Whatever the server says instead."""
    async with serving("ollama") as (upstream, provider):
        upstream.routes["/api/tags"] = json_answer(body)
        with pytest.raises(errors.Malformed):
            await provider.models()
