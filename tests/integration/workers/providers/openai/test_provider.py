"""What is particular to the `openai` provider."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared import errors
from shared.models.catalogue import Catalogue, ModelEntry
from shared.models.paid_apis import PaidApi
from shared.types import LocalModel
from tests.upstreams.gemini.serving import asking_for_images
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.outcome import HELLO, chat, complete, outcome_of, provider_for, serving
from tests.upstreams.scripted import Act, Answer, ScriptedUpstream, json_answer, sse
from workers.providers.openai.paid_api import PaidApiProvider
from workers.providers.openai.provider import OpenAIProvider

TEXT = openai_replies.text("Hello")
REFUSALS: list[tuple[int, dict[str, Any]]] = [
    (400, {"error": {"message": "no", "type": "invalid_request_error", "param": "stream_options", "code": None}}),
    (400, {"error": {"message": "no", "param": "stream_options.include_usage", "code": "unknown_parameter"}}),
    (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs"}]}),
    (400, {"error": "Unrecognized request argument supplied: stream_options"}),
]


@pytest.mark.parametrize(("status", "body"), REFUSALS)
async def test_a_server_that_refuses_stream_options_is_asked_without(status: int, body: dict[str, Any]) -> None:
    """Once refused, they are never sent again."""
    async with serving("openai") as (upstream, provider):
        upstream.add(json_answer(body, status), sse(TEXT), sse(TEXT))
        assert outcome_of(await complete(provider)).content == "Hello"
        await complete(provider)
        assert ["stream_options" in request.body for request in upstream.requests] == [True, False, False]


HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi", "reasoning_content": "hm", "reasoning_details": [{"text": "hm"}]},
    {"role": "user", "content": "Hello"},
]


_PLACE = ["body", "messages", 1, "assistant", "reasoning_content"]
_UNEXPECTED = "Additional properties are not allowed ('reasoning_details' was unexpected) - 'messages.1'"
REFUSED_HISTORIES: list[tuple[int, dict[str, Any]]] = [
    (422, {"message": {"detail": [{"type": "extra_forbidden", "loc": _PLACE}]}}),
    (400, {"error": {"message": "property 'messages.1.reasoning_content' is unsupported"}}),
    (400, {"error": {"message": "Extra inputs are not permitted, field: 'messages[1].reasoning_details'"}}),
    (400, {"error": {"message": _UNEXPECTED}}),
]


@pytest.mark.parametrize(("status", "body"), REFUSED_HISTORIES)
async def test_a_server_that_refuses_what_answers_have_is_asked_without(status: int, body: dict[str, Any]) -> None:
    """Clients send answers of another server back as they got them; those that are known are not refused again."""
    async with serving("openai") as (upstream, provider):
        upstream.add(json_answer(body, status), sse(TEXT), sse(TEXT))
        for _ in range(2):
            await complete(provider, {**HELLO, "messages": HISTORY})
        assert [request.body["messages"][1] for request in upstream.requests] == [
            HISTORY[1],
            *[{"role": "assistant", "content": "Hi"}] * 2,
        ]


async def test_one_refusal_after_the_other_is_followed() -> None:
    """Neither is asked for again; nor is anything tried a third time."""
    refused = [json_answer(REFUSALS[0][1], 400), json_answer({"error": "no reasoning_content"}, 400)]
    async with serving("openai") as (upstream, provider):
        upstream.add(*refused, sse(TEXT), *refused)
        await complete(provider, {**HELLO, "messages": HISTORY})
        assert len(upstream.requests) == 3
        with pytest.raises(errors.InvalidRequest):
            await complete(provider, {**HELLO, "messages": HISTORY})
        assert len(upstream.requests) == 4


async def test_a_refusal_that_another_try_does_not_cure_is_not_remembered() -> None:
    """The second refusal is the one that counts, and the next request asks for usage again."""
    async with serving("openai") as (upstream, provider):
        upstream.add(json_answer(REFUSALS[0][1], 400), json_answer({"error": "busy"}, 503), sse(TEXT))
        with pytest.raises(errors.Unavailable):
            await complete(provider)
        await complete(provider)
        assert ["stream_options" in request.body for request in upstream.requests] == [True, False, True]


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "bad stop", "param": "stop"}, errors.InvalidRequest),
        (500, {"message": "crashed on stream_options", "param": "stream_options"}, errors.Unavailable),
        (429, {"message": "slow down", "param": "stream_options"}, errors.Throttled),
    ],
)
async def test_other_refusals_are_not_tried_again(status: int, error: dict[str, Any], kind: type[Exception]) -> None:
    """There is one retry loop in the system, and it is not here."""
    async with serving("openai") as (upstream, provider):
        upstream.add(json_answer({"error": error}, status))
        with pytest.raises(kind):
            await complete(provider)
        assert len(upstream.requests) == 1


async def test_the_key_is_sent_and_never_told() -> None:
    """The credential goes to the upstream only."""
    async with serving("openai") as (upstream, provider):
        upstream.add(json_answer({"error": {"message": "Incorrect API key provided: sk-scripted"}}, 401))
        with pytest.raises(errors.Rejected) as caught:
            await complete(provider)
        assert upstream.requests[0].headers["authorization"] == "Bearer sk-scripted"
        assert "sk-scripted" not in caught.value.message


async def test_a_server_that_ignores_stream_is_understood() -> None:
    """A JSON completion with status 200 makes the same events, and its connection is used again."""
    async with serving("openai") as (upstream, provider):
        body = openai_replies.completion({"content": "Hello"}, "stop", openai_replies.usage(7, 1))
        upstream.add(json_answer(body), Answer([json.dumps(body).encode()], split=1), sse(TEXT))
        for _ in range(3):
            outcome = outcome_of(await complete(provider))
            assert (outcome.content, outcome.finish, outcome.usage is not None) == ("Hello", "stop", True)
        assert upstream.opened == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (json_answer({"error": {"message": "x"}}), errors.Unavailable),
        (Answer([b"<html>Login</html>"], headers={"content-type": "text/html"}), errors.Malformed),
        (Answer([b'{"choices":', Act.ABORT], headers={"content-type": "application/json"}), errors.Unavailable),
        (json_answer({}), errors.StreamBroken),
    ],
)
async def test_a_body_that_is_neither_stream_nor_completion_fails(answer: Answer, kind: type[Exception]) -> None:
    """A 200 alone is no success."""
    async with serving("openai") as (upstream, provider):
        upstream.add(answer)
        with pytest.raises(kind):
            await complete(provider)


async def test_a_context_length_error_is_the_callers() -> None:
    """llama.cpp names it by its type."""
    async with serving("openai") as (upstream, provider):
        error = {"code": 400, "message": "too long", "type": "exceed_context_size_error", "n_ctx": 256}
        upstream.add(json_answer({"error": error}, 400))
        with pytest.raises(errors.ContextTooLong):
            await complete(provider)


async def test_models_are_listed_with_what_is_reported_of_them() -> None:
    """llama.cpp says `meta.n_ctx`, of which each slot has that much, vLLM `max_model_len`, others nothing."""
    text_only = {"architecture": {"input_modalities": ["text"], "output_modalities": ["text"]}}
    async with serving("openai") as (upstream, provider):
        models = [
            {"id": "a", "object": "model", "created": 5, "owned_by": "llamacpp", "meta": {"n_ctx": 512}, **text_only},
            {"id": "b", "object": "model", "created": None, "max_model_len": 1024, "owned_by": "vllm"},
            {"id": "c", "object": "model", "meta": None},
            {"id": "d", "object": "model", "owned_by": "llamacpp", "status": {"value": "unloaded"}, **text_only},
        ]
        upstream.routes["/v1/models"] = json_answer({"object": "list", "data": models})
        cannot = ("images", "audio", "files")
        assert list(await provider.models()) == [
            LocalModel("a", 5, 512, ("chat",), cannot, is_loaded=True),
            LocalModel("b", 0, 1024, ("chat",), is_loaded=True),
            LocalModel("c", endpoints=("chat",)),
            LocalModel("d", endpoints=("chat",), cannot=cannot),
        ]
        assert [request.path for request in upstream.route_requests] == ["/v1/models"]


@pytest.mark.parametrize(
    ("answer", "cannot"),
    [
        (json_answer(openai_replies.props()), ("files",)),
        (json_answer(openai_replies.props(supports_tools=False)), ("files", "tools")),
        (
            json_answer(openai_replies.props(supports_tools=False, supports_reasoning_effort=False)),
            ("files", "tools", "reasoning_effort"),
        ),
        (json_answer({"total_slots": 4}), ("files",)),
        (json_answer({"error": {"message": "no"}}, 501), ("files",)),
        (Answer([b"<html>"]), ("files",)),
    ],
)
async def test_what_a_chat_template_leaves_out_the_model_cannot_do(answer: Answer, cannot: tuple[str, ...]) -> None:
    """llama.cpp drops it without a word; one that does not tell may have it all."""
    async with serving("openai") as (upstream, provider):
        upstream.routes["/props"] = answer
        (model,) = await provider.models()
        assert model.cannot == cannot


async def test_other_servers_are_not_asked_for_a_template() -> None:
    """OpenAI would be puzzled, and its key is for its own calls."""
    async with serving("openai") as (upstream, provider):
        upstream.routes["/v1/models"] = json_answer({"data": [{"id": "gpt-4o", "owned_by": "system"}]})
        assert [model.cannot for model in await provider.models()] == [()]
        assert [request.path for request in upstream.route_requests] == ["/v1/models"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (json_answer({}, 401), errors.Rejected),
        (json_answer({}, 400), errors.Unavailable),
        (json_answer({}, 500), errors.Unavailable),
        (Answer([b"<html>"]), errors.Malformed),
    ],
)
async def test_models_that_cannot_be_listed_are_the_upstreams_fault(answer: Answer, kind: type[Exception]) -> None:
    """Asking for models never blames a caller: there is none."""
    async with serving("openai") as (upstream, provider):
        upstream.routes["/v1/models"] = answer
        with pytest.raises(kind):
            await provider.models()


async def test_images_by_address_go_out_as_data_where_the_server_is_inside() -> None:
    """It would open a connection to wherever a client says; OpenAI's own does so outside."""

    async def fetch(url: str) -> tuple[str, bytes]:
        return "image/png", url.encode()

    asked = asking_for_images("http://a/1", "data:image/png;base64,AAAA")
    asked["messages"] += [{"role": "assistant", "content": "A pixel."}, *HELLO["messages"]]
    async with ScriptedUpstream() as upstream:
        upstream.add(sse(TEXT), sse(TEXT))
        inside, outside = OpenAIProvider(f"{upstream.url}/v1", fetch_image=fetch), OpenAIProvider(f"{upstream.url}/v1")
        for provider in (inside, outside):
            await complete(provider, asked)
            await provider.close()
        sent, passed_on = (request.body["messages"] for request in upstream.requests)
    data_urls = ["data:image/png;base64,aHR0cDovL2EvMQ==", "data:image/png;base64,AAAA"]
    assert [part["image_url"]["url"] for part in sent[0]["content"]] == data_urls
    assert (sent[1:], passed_on) == (asked["messages"][1:], asked["messages"])


async def test_a_base_url_may_end_with_a_slash() -> None:
    """Both spellings of a base URL are the same server."""
    async with ScriptedUpstream() as upstream:
        provider = provider_for("openai", upstream.url)
        slashed = type(provider)(f"{upstream.url}/v1/")  # type: ignore[call-arg]  # of two classes, with one signature
        assert list(await slashed.models()) == list(await provider.models())
        await provider.close()
        await slashed.close()


@pytest.mark.parametrize(
    ("base", "path", "query", "header"),
    [
        ("/openai/v1", "/openai/v1/chat/completions", "", {"authorization": "Bearer the-key-of-azure"}),
        ("/openai/v1/?api-version=preview", "/openai/v1/chat/completions", "api-version=preview",
         {"api-key": "the-key-of-azure"}),
        ("/openai/deployments/{model}?api-version=2024-10-21", "/openai/deployments/my%20gpt/chat/completions",
         "api-version=2024-10-21", {"api-key": "the-key-of-azure"}),
    ],
)  # fmt: skip
async def test_azure_is_reached_by_both_of_its_forms(base: str, path: str, query: str, header: dict[str, str]) -> None:
    """Its v1 API is as OpenAI's; the older one has a deployment in its path, a version, and another header."""
    async with ScriptedUpstream() as upstream:
        api = PaidApi("azure", upstream.url + base, "the-key-of-azure", ("my gpt",))
        catalogue = Catalogue(models={"azure/my gpt": ModelEntry(prompt_usd=1.0)})
        provider = PaidApiProvider(api, connections=1, catalogue=catalogue)
        upstream.add(sse(TEXT))
        assert [model.id for model in await provider.models()] == ["azure/my gpt"]
        async with provider.stream(chat(HELLO), "azure/my gpt") as batches:
            events = [event async for batch in batches for event in batch]
        await provider.close()
        assert outcome_of(events).content == "Hello"
        (request,) = upstream.requests
        assert request.path == path + ("?" + query if query else "")
        keys = {"authorization", "api-key"}
        assert {name: value for name, value in request.headers.items() if name in keys} == header
        assert request.body["model"] == "my gpt"


REASON = "Conversation roles must alternate user/assistant/user/assistant/..."
JINJA = {
    "error": {
        "code": 500,
        "message": f"\n---\nWhile executing ...\nError: Jinja Exception: {REASON}",
        "type": "server_error",
    }
}
IN_A_ROW: list[dict[str, Any]] = [
    {"role": "assistant", "content": "Welcome."},
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "user", "content": [{"type": "text", "text": "Are you there?"}]},
    {"role": "system", "content": "Be kind."},
]


@pytest.mark.parametrize(("n", "content"), [(None, "ab"), (1, "ab"), (2, "a")])
async def test_choices_that_nobody_asked_for_are_one(n: int | None, content: str) -> None:
    """Their numbers say nothing then."""
    chunks = [openai_replies.chunk({"content": text}, index=index) for index, text in enumerate("ab")]
    ends = [openai_replies.chunk(finish_reason="stop", index=index) for index in (0, 1)]
    async with serving("openai") as (upstream, provider):
        upstream.add(sse(b"".join(chunks + ends)))
        events = await complete(provider, {**HELLO, **({} if n is None else {"n": n})})
    assert outcome_of(events).content == content


TURNS = (
    "After the optional system message, conversation roles must alternate user/assistant/user/assistant/...",
    "After the (optional) system message(s), user or tool message(s) should alternate with assistant message(s).",
    "deepseek-reasoner does not support successive user or assistant messages (messages[1] and messages[2]).",
)


@pytest.mark.parametrize("text", TURNS)
async def test_a_server_that_wants_turns_gets_turns(text: str) -> None:
    """vLLM, Perplexity and DeepSeek say so with status 400, each in its own words."""
    async with serving("openai") as (upstream, provider):
        upstream.add(json_answer({"error": {"message": text, "code": 400}}, 400), sse(TEXT))
        await complete(provider, {**HELLO, "messages": IN_A_ROW})
        roles = [[message["role"] for message in request.body["messages"]] for request in upstream.requests]
    assert roles[1] == ["system", "user", "assistant", "user"]


FORMS: tuple[tuple[int, str], ...] = (
    (422, "Failed to deserialize the JSON body: messages[1]: invalid type: sequence, expected a string at line 17"),
    (400, "invalid message content type: <nil>"),
    (400, "'messages.0' : for 'role:system' the following must be satisfied[('content' : value must be a string)]"),
    (500, "Expected 'content' to be a string or an array"),
    (400, "json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string"),
    (400, "messages[2]: missing field `content`"),
)  # fmt: skip


@pytest.mark.parametrize(("status", "text"), FORMS)
async def test_a_server_that_takes_texts_only_gets_texts(status: int, text: str) -> None:
    """DeepSeek, Groq, Ollama's own /v1 and older llama.cpp servers; from then on at once."""
    parts = [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    image = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]
    asked = [
        {"role": "system", "content": parts},
        {"role": "user", "content": image},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "r"}]},
        {"role": "assistant", "content": None, "tool_calls": [{**call, "id": "d"}]},
        {"role": "tool", "tool_call_id": "d", "content": "r"},
    ]
    async with serving("openai") as (upstream, provider):
        upstream.add(json_answer({"error": {"message": text}}, status), sse(TEXT), sse(TEXT))
        for _ in range(2):
            await complete(provider, {**HELLO, "messages": asked})
        sent = [[message["content"] for message in request.body["messages"]] for request in upstream.requests[1:]]
    assert sent == [["Be\nbrief.", image, "", "r", "", "r"]] * 2


async def test_what_one_model_does_not_take_goes_to_the_others() -> None:
    """Of a router each model may be another maker's, and parts carry the marks of what Claude shall cache."""
    parts = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]
    asked = {**HELLO, "messages": [{"role": "user", "content": parts}]}
    async with serving("openai") as (upstream, provider):
        upstream.add(json_answer({"error": {"message": FORMS[0][1]}}, 422), *[sse(TEXT)] * 3)
        for model in ("one", "other", "one"):
            async with provider.stream(chat(asked), model) as batches:
                assert [event async for batch in batches for event in batch]
        sent = [(one.body["model"], one.body["messages"][0]["content"]) for one in upstream.requests]
    assert sent == [("one", parts), ("one", "a"), ("other", parts), ("one", "a")]


async def test_texts_are_not_sent_again_for_a_refusal_of_something_else() -> None:
    """Nothing would be other than before."""
    async with serving("openai") as (upstream, provider):
        upstream.add(json_answer({"error": {"message": "content must be a string"}}, 400))
        with pytest.raises(errors.InvalidRequest):
            await complete(provider, HELLO)
        assert len(upstream.requests) == 1


UNKNOWN: tuple[tuple[str, dict[str, Any]], ...] = (
    ("prompt_cache_key", {"message": "property 'prompt_cache_key' is unsupported", "type": "invalid_request_error"}),
    ("prompt_cache_key", {"message": "body.prompt_cache_key: property 'body.prompt_cache_key' is unsupported",
                          "param": "validation_error", "code": "wrong_api_format"}),
    ("prompt_cache_key", {"message": "Unrecognized request argument supplied: prompt_cache_key"}),
    ("store", {"detail": [{"type": "extra_forbidden", "loc": ["body", "store"], "msg": "Extra inputs"}]}),
    ("user", {"message": "Unknown field 'user'."}),
)  # fmt: skip


@pytest.mark.parametrize(("name", "error"), UNKNOWN)
async def test_a_field_that_changes_no_answer_costs_none(name: str, error: dict[str, Any]) -> None:
    """Groq, Cerebras, Azure and Mistral refuse what they do not know; another request is asked with it again."""
    value = False if name == "store" else "mine"
    async with serving("openai") as (upstream, provider):
        upstream.add(json_answer({"error": error}, 422), sse(TEXT), sse(TEXT))
        for _ in range(2):
            await complete(provider, {**HELLO, name: value})
        assert [request.body.get(name) for request in upstream.requests] == [value, None, value]


async def test_a_refused_value_of_such_a_field_is_the_callers() -> None:
    """Only what the server does not know is left out."""
    async with serving("openai") as (upstream, provider):
        upstream.add(json_answer({"error": {"message": "'user' is too long", "param": "user"}}, 400))
        with pytest.raises(errors.InvalidRequest):
            await complete(provider, {**HELLO, "user": "u"})
        assert len(upstream.requests) == 1


async def test_the_limit_has_the_name_that_the_server_knows() -> None:
    """Mistral refuses the newer one, which LangChain always sends; the limit holds all the same, and at once later."""
    loc = ["body", "max_completion_tokens"]
    error = {"detail": [{"type": "extra_forbidden", "loc": loc, "msg": "Extra inputs are not permitted"}]}
    async with serving("openai") as (upstream, provider):
        upstream.add(json_answer(error, 422), sse(TEXT), sse(TEXT))
        for _ in range(2):
            await complete(provider, {**HELLO, "max_completion_tokens": 5})
        limits = [(one.body.get("max_completion_tokens"), one.body.get("max_tokens")) for one in upstream.requests]
    assert limits == [(5, None), (None, 5), (None, 5)]


async def test_a_template_that_wants_turns_gets_turns() -> None:
    """llama.cpp says so with status 500, and is asked once more; from then on at once."""
    async with serving("openai") as (upstream, provider):
        upstream.add(json_answer(JINJA, 500), sse(TEXT), sse(TEXT))
        for _ in range(2):
            await complete(provider, {**HELLO, "messages": IN_A_ROW})
        assert [len(request.body["messages"]) for request in upstream.requests] == [5, 4, 4]
        assert upstream.requests[-1].body["messages"] == [
            {"role": "system", "content": "Be brief.\n\nBe kind."},
            {"role": "user", "content": "(The assistant speaks first.)"},
            {"role": "assistant", "content": "Welcome."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": "Are you there?"}],
            },
        ]


@pytest.mark.parametrize(
    ("status", "error", "kind", "param"),
    [
        (500, JINJA["error"], errors.Unsupported, "messages"),
        (
            429,
            {
                "message": "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000",
                "type": "tokens",
                "code": "rate_limit_exceeded",
            },
            errors.ContextTooLong,
            "messages",
        ),
        (
            413,
            {
                "message": "Request too large for model `x` in organization `org-1`",
                "type": "tokens",
                "code": "rate_limit_exceeded",
            },
            errors.ContextTooLong,
            "messages",
        ),
        (
            404,
            {"message": "No endpoints found that support tool use. To learn more ...", "code": 404},
            errors.Unsupported,
            "tools",
        ),
        (
            404,
            {"message": "No endpoints found that support the provided 'tool_choice' value.", "code": 404},
            errors.Unsupported,
            "tool_choice",
        ),
        (404, {"message": "No endpoints found for vendor/model.", "code": 404}, errors.ModelMissing, "model"),
        (
            429,
            {
                "message": "Rate limit reached for gpt-4 in organization org-1",
                "type": "tokens",
                "code": "rate_limit_exceeded",
            },
            errors.Throttled,
            None,
        ),
        (500, {"message": "The server had an error", "type": "server_error"}, errors.Unavailable, None),
    ],
)
async def test_words_tell_whom_to_blame(status: int, error: dict[str, Any], kind: type[Exception], param: str) -> None:
    """A request that no waiting helps closes nothing to others; none names the operator's account."""
    async with serving("openai") as (upstream, provider):
        upstream.fallback = json_answer({"error": error}, status)
        with pytest.raises(kind) as caught:
            await complete(provider)
    assert isinstance(caught.value, errors.GatewayError)
    assert (type(caught.value), caught.value.param) == (kind, param)
    assert "org-1" not in caught.value.message
    if error is JINJA["error"]:
        assert REASON in caught.value.message


@pytest.mark.parametrize(("name", "value"), [("models", ["m"]), ("fallbacks", ["m"]), ("plugins", [{"id": "web"}])])
async def test_what_is_billed_at_other_prices_is_refused_by_name(name: str, value: Any) -> None:
    """A router's other models, searches and parsers would walk around every budget."""
    async with ScriptedUpstream() as upstream:
        api = PaidApi("router", upstream.url + "/v1", "the-key-of-the-router", ("m",))
        provider = PaidApiProvider(api, connections=1, catalogue=Catalogue())
        with pytest.raises(errors.Unsupported) as caught:
            async with provider.stream(chat({**HELLO, name: value}), "router/m"):
                pass
        await provider.close()
        assert (caught.value.param, upstream.requests) == (name, [])
