"""Whatever OpenAI's document allows of a request for a response: it is read, or refused by name; nothing is lost."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from hypothesis import HealthCheck, given, settings
from openai.types.responses.response_item import ResponseItem
from pydantic import BaseModel, ValidationError

from api.prompt.responses.state_fields import state_fields_of
from api.requests.checked_body import CheckedBody
from shared.dialects.responses.items import NATIVE, kind_of
from shared.dialects.responses.request import ResponsesRequest
from shared.dialects.responses.tools import HOSTED
from shared.dialects.stored.items import listed
from shared.dialects.stored.thoughts import item_as_shown
from shared.errors import InvalidRequest
from shared.models.parameters import COLUMNS
from shared.models.response_parameters import RESPONSE_FIELDS
from shared.openai.request import ChatRequest
from tests.e2e.schemas.requests import response_requests
from tests.unit.shared.models.test_parameters import sent_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def classes_of(kind: Any) -> Iterator[type[BaseModel]]:
    """Yield the classes of a union."""
    for inner in get_args(kind):
        yield from [inner] if isinstance(inner, type) else classes_of(inner)


def is_listable(item: dict[str, Any]) -> bool:
    """Return whether the client's own types can read an item of a list, to the letter."""
    for each in classes_of(ResponseItem):
        if item["type"] in get_args(each.model_fields["type"].annotation):
            with suppress(ValidationError):
                each.model_validate_json(json.dumps(item), strict=True)
                return True
    return False


def places_of(body: dict[str, Any]) -> Iterator[str]:
    """Yield where each field of a request stands, as the table has it."""
    for name, value in body.items():
        yield name
        if name in {"reasoning", "text", "stream_options"} and isinstance(value, dict):
            yield from (f"{name}.{inner}" for inner in value)
    for item in body["input"] if isinstance(body["input"], list) else ():
        yield from (f"input[].{name}" for name in item)
        for name in ("content", "output"):
            parts = item.get(name)
            yield from (
                f"input[].content[].{inner}" for part in parts or () if isinstance(part, dict) for inner in part
            )
    for tool in body.get("tools") or ():
        yield from (f"tools[].{name}" for name in tool)


def is_openais_own(body: dict[str, Any]) -> bool:
    """Return whether a request has items or tools that OpenAI alone has: those are refused, whatever is in them."""
    items = body["input"] if isinstance(body["input"], list) else []
    return any(kind_of(item) in NATIVE for item in items) or any(
        tool.get("type") in HOSTED for tool in body.get("tools") or ()
    )


def refusal_of(read: Callable[[], object]) -> InvalidRequest | None:
    """Return how a request is refused; None where it is not. Whatever else is raised is a defect."""
    try:
        read()
    except InvalidRequest as error:
        return error
    return None


@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], max_examples=2 * settings().max_examples
)
@given(response_requests())
def test_it_is_read_or_refused_by_name_and_every_field_is_in_the_table(body: dict[str, Any]) -> None:
    """By the api, and again by each provider that would get it."""
    raw = json.dumps(body).encode()
    refusal = refusal_of(lambda: CheckedBody.of_responses(raw))
    assert refusal is not None or state_fields_of(raw) is not None, "what it says of stored responses would be lost"
    if refusal is not None:
        assert refusal.status == 400
        assert refusal.param, refusal.message
        assert not refusal.param.startswith("messages"), refusal.param
        return
    for item in listed(body["input"], "0" * 32):
        shown = json.loads(item_as_shown(json.dumps(item).encode(), has_thoughts=False))
        assert kind_of(item) in NATIVE or is_listable(shown), shown
    needs = CheckedBody.of_responses(raw).needs
    assert not any(param.startswith("messages") for param in needs.values())
    for provider in COLUMNS:
        request = ChatRequest(raw, read=ResponsesRequest)
        refusal_of(partial(sent_of, provider, request))
    if not is_openais_own(body):
        assert set(places_of(body)) <= set(RESPONSE_FIELDS)
