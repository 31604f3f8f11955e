"""Lists of models, in whatever form servers have them: each model is announced once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import Malformed
from workers.providers.anthropic import models as anthropic
from workers.providers.gemini import models as gemini
from workers.providers.ollama import models as ollama
from workers.providers.openai.models import ModelList, TemplateAbilities
from workers.providers.replies.json_reader import json_reader


def read(kind: Any, said: Any) -> Any:
    """Return what a list is read as."""
    return json_reader(kind)(json.dumps(said).encode())


@pytest.mark.parametrize(
    "said",
    [
        {"object": "list", "data": [{"id": "a"}, {"id": "b"}]},
        [{"id": "a"}, {"id": "b", "created": 1.5}],
        ["a", None, "b"],
        {"data": ["a", "b", "a"]},
        {"data": [None, {"id": "a"}, 7, {"id": ""}, {"name": "b"}]},
        {"models": [{"name": "a"}, {"model": "b"}]},
        {"models": ["a", "b"]},
        {"result": [{"name": "a"}, {"id": "b"}]},
    ],
)
def test_a_list_of_models_is_read_in_every_form(said: Any) -> None:
    """Bare, of texts, under other names, with entries that are none, and with one twice."""
    models = read(ModelList, said).to_models(TemplateAbilities())
    assert [model.id for model in models] == ["a", "b"]


@pytest.mark.parametrize("said", [{"data": None}, {"data": []}, []])
def test_a_server_without_models_has_none(said: Any) -> None:
    """Ollama's OpenAI-compatible list was null without models."""
    assert read(ModelList, said).to_models(TemplateAbilities()) == []


@pytest.mark.parametrize("said", [{}, {"error": "x"}, {"data": "x"}, "a", None])
def test_what_is_no_list_is_none(said: Any) -> None:
    """An answer that says nothing of models does not mean that all are gone."""
    with pytest.raises(Malformed):
        read(ModelList, said)


def test_other_apis_lists_are_read_so_too() -> None:
    """Of names alone, with nulls, and in the spelling of Google's SDKs."""
    assert [each.name for each in read(ollama.Tags, {"models": ["a", None, {"model": "b"}]}).models or ()] == ["a", "b"]
    assert [each.id for each in read(anthropic.ModelPage, {"data": ["a", None], "has_more": "false"}).data] == ["a"]
    page = read(gemini.ModelPage, {"models": ["models/a", None, {"name": "models/b", "input_token_limit": 9}],
                                   "next_page_token": "x"})  # fmt: skip
    assert [(each.name, each.input_token_limit) for each in page.models or ()] == [("models/a", None), ("models/b", 9)]
    assert page.next_page_token == "x"
