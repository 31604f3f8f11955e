"""What `up` makes of the gateway's answers."""

import httpx
import pytest

from cli.up.gateway import GatewayCallFailed, GatewayClient


def _gateway(*responses: httpx.Response | Exception) -> GatewayClient:
    waiting = list(responses)

    def answer(_: httpx.Request) -> httpx.Response:
        response = waiting.pop(0)
        if isinstance(response, Exception):
            raise response
        return response

    return GatewayClient("http://gateway", "secret", httpx.MockTransport(answer))


async def _answer(gateway: GatewayClient) -> str:
    return "".join([piece async for piece in gateway.first_answer("local")])


async def test_stores_are_enough_where_no_model_is_expected() -> None:
    """The first key can be made once the schema is there, with or without a model."""
    body = {"status": "not ready", "redis": "ok", "postgres": "ok", "models": "missing"}
    gateway = _gateway(httpx.Response(503, json=body), httpx.Response(503, json=body))

    assert await gateway.why_no_databases() == ""
    assert await gateway.why_not_ready() == "503 not ready (models missing)"


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (httpx.Response(200, json={"data": [{"id": "auto"}, {"id": "local"}]}), ""),
        (httpx.Response(200, json={"data": [{"id": "auto"}]}), "local is not on offer"),
        (httpx.Response(200, json={}), "local is not on offer"),
        (httpx.Response(200, text="not the gateway"), "local is not on offer"),
        (httpx.Response(503, json={"error": {"message": "Try again."}}), "503 Try again."),
        (httpx.ConnectError("refused"), "ConnectError refused"),
    ],
)
async def test_a_model_is_on_offer_once_it_is_listed(response: httpx.Response | Exception, why: str) -> None:
    """That the gateway is ready does not say with which model."""
    assert await _gateway(response).why_not_listed("local") == why


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(503, json={"redis": "ok", "postgres": "missing"}),
        httpx.Response(200, text="not the gateway"),
        httpx.Response(404, text="no such page"),
        httpx.ConnectError("refused"),
    ],
)
async def test_stores_are_missing_while_the_gateway_does_not_say_otherwise(
    response: httpx.Response | Exception,
) -> None:
    """An answer that cannot be read is none."""
    assert await _gateway(response).why_no_databases() != ""


async def test_the_pieces_of_a_stream_are_the_answer() -> None:
    """Comments, roles and usage are not."""
    events = (
        ': waiting\n\ndata: {"choices":[{"delta":{"role":"assistant"}}]}\n\n'
        'data: {"choices":[{"delta":{"content":"a "}}]}\n\ndata: {"choices":[{"delta":{"content":"b"}}]}\n\n'
        'data: {"choices":[],"usage":{"total_tokens":3}}\n\ndata: [DONE]\n\n'
    )

    assert await _answer(_gateway(httpx.Response(200, text=events))) == "a b"


@pytest.mark.parametrize(
    ("response", "complaint"),
    [
        (httpx.Response(503, text="overloaded"), "^503 overloaded$"),
        (httpx.Response(503, json={"error": {"message": "No model.", "code": "x"}}), "^503 No model.$"),
        (httpx.Response(503, json={"detail": {"x": 1}}), "^503 Service Unavailable$"),
        (httpx.Response(200, text='data: {"error":{"code":7}}\n\n'), "^an error without a message$"),
        (httpx.Response(200, text="data: [DONE]\n\n"), "the answer was empty"),
        (httpx.Response(200, text='data: {"error":{"message":"broken off"}}\n\n'), "broken off"),
        (httpx.Response(200, text="data: <html>\n\n"), "no JSON"),
        (httpx.ReadTimeout("slow"), "ReadTimeout slow"),
    ],
)
async def test_what_is_no_answer_is_an_error(response: httpx.Response | Exception, complaint: str) -> None:
    """A failure is never shown as an answer."""
    with pytest.raises(GatewayCallFailed, match=complaint):
        await _answer(_gateway(response))


@pytest.mark.parametrize(
    ("responses", "complaint"),
    [
        ([httpx.Response(500, text="broken")], "GET /claw/v1/api-keys: 500 broken"),
        ([httpx.Response(401, json={"error": "No token."})], "GET /claw/v1/api-keys: 401 No token.$"),
        ([httpx.Response(200, text="[]")], "GET /claw/v1/api-keys: ValidationError"),
        ([httpx.Response(200, json={"keys": []}), httpx.Response(400, text="no")], "POST /claw/v1/api-keys: 400 no"),
    ],
)
async def test_a_key_that_cannot_be_made_is_an_error(responses: list[httpx.Response], complaint: str) -> None:
    """The call that failed is named."""
    with pytest.raises(GatewayCallFailed, match=complaint):
        await _gateway(*responses).create_first_key()


async def test_a_password_is_set_where_the_web_ui_has_none_and_nowhere_else() -> None:
    """Not where it has one, or the environment names it, or there is no web UI; nor where another start was faster."""
    none, done = httpx.Response(200, json={"password": "none"}), httpx.Response(200, json={"changed": True})
    assert await _gateway(none, done).set_first_password("words")
    for password in ("stored", "environment", None):
        assert not await _gateway(httpx.Response(200, json={"password": password})).set_first_password("words")
    late = httpx.Response(200, json={"changed": False})
    assert not await _gateway(none, late).set_first_password("words")
