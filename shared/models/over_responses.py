"""Fields of a chat request that goes to OpenAI over its Responses API, and what becomes of each; docs/api.md shows it.

Which requests do is in the catalogue (`responses`). Fields of other names than OpenAI's are passed on as they are.

Source: OpenAI's OpenAPI document, schemas CreateResponse and CreateChatCompletionRequest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shared.models.parameters import Action

LEAST_OUTPUT_TOKENS: Final = 16
"""No smaller `max_output_tokens` is taken."""
_BEGIN: Final = "<!-- of shared/models/over_responses.py -->\n"
_END: Final = "<!-- end -->\n"

_P, _T, _H, _O, _I, _R = Action.PASSED, Action.TRANSLATED, Action.HELD, Action.OMITTED, Action.IGNORED, Action.REFUSED
_NO_PLACE: Final = "no place for it"

OVER_RESPONSES: Final[dict[str, tuple[Action, str]]] = {
    "model": (_T, ""),
    "messages": (_T, "`input`"),
    "audio": (_R, ""),
    "frequency_penalty": (_O, _NO_PLACE),
    "function_call": (_T, "`tool_choice`"),
    "functions": (_T, "`tools`"),
    "logit_bias": (_R, _NO_PLACE),
    "logprobs": (_T, "`include`"),
    "max_completion_tokens": (_T, "`max_output_tokens`, which is at least 16"),
    "max_tokens": (_T, "`max_output_tokens`, which is at least 16"),
    "metadata": (_P, ""),
    "modalities": (_I, "answers are text"),
    "moderation": (_P, ""),
    "n": (_H, "as many requests"),
    "parallel_tool_calls": (_P, ""),
    "prediction": (_R, _NO_PLACE),
    "presence_penalty": (_O, _NO_PLACE),
    "prompt_cache_key": (_P, ""),
    "prompt_cache_options": (_P, ""),
    "prompt_cache_retention": (_P, ""),
    "reasoning_effort": (_T, "`reasoning.effort`"),
    "response_format": (_T, "`text.format`"),
    "safety_identifier": (_P, ""),
    "seed": (_O, _NO_PLACE),
    "service_tier": (_P, ""),
    "stop": (_R, _NO_PLACE),
    "store": (_I, "always `false`"),
    "stream": (_H, "every answer is streamed"),
    "stream_options": (_T, "`include_obfuscation`; usage always comes"),
    "temperature": (_P, ""),
    "tool_choice": (_T, ""),
    "tools": (_T, "functions"),
    "top_logprobs": (_P, ""),
    "top_p": (_P, ""),
    "user": (_P, ""),
    "verbosity": (_T, "`text.verbosity`"),
    "web_search_options": (_R, "a tool there"),
    "messages[].name": (_I, _NO_PLACE),
    "messages[].content": (_T, ""),
    "messages[].refusal": (_T, "what the assistant said"),
    "messages[].audio": (_R, ""),
    "messages[].tool_calls": (_T, "`function_call` items"),
    "messages[].tool_call_id": (_T, "`function_call_output` items"),
    "messages[].function_call": (_T, ""),
    "messages[].content[].text": (_T, ""),
    "messages[].content[].refusal": (_T, ""),
    "messages[].content[].image_url": (_T, "`input_image`"),
    "messages[].content[].image_url.url": (_T, ""),
    "messages[].content[].image_url.detail": (_T, ""),
    "messages[].content[].input_audio": (_R, _NO_PLACE),
    "messages[].content[].file": (_T, "`input_file`"),
    "messages[].content[].prompt_cache_breakpoint": (_P, ""),
    "tools[].function": (_T, ""),
    "tools[].function.name": (_T, ""),
    "tools[].function.description": (_T, ""),
    "tools[].function.parameters": (_T, ""),
    "tools[].function.strict": (_T, "`false` where it is not given, as with chat"),
    "tools[].custom": (_R, "answers hold no such calls"),
}
"""Every field of a chat request that OpenAI names, with what becomes of it and a remark."""
_BY_VALUE: Final = frozenset({"audio"})
"""Fields that are refused by an ability of another name."""
LACKS_OVER_RESPONSES: Final = frozenset({
    *(
        name
        for name, (action, _) in OVER_RESPONSES.items()
        if "[" not in name and name not in _BY_VALUE and action in {Action.REFUSED, Action.OMITTED}
    ),
    "n", "audio", "earlier_audio", "earlier_images", "image_output",
})  # fmt: skip
"""Abilities that a request cannot have there, in the words of `shared/models/abilities.py`."""


def table() -> str:
    """Return the table as docs/api.md has it: the fields of which not the same becomes as over Chat Completions."""
    lines = ["| field | over Responses | |", "|---|---|---|"]
    lines += [
        f"| `{name}` | {action.value} | {note} |"
        for name, (action, note) in OVER_RESPONSES.items()
        if action is not Action.PASSED and (note or action is not Action.TRANSLATED)
    ]
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """Return a page with the table in its place."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}{table()}{_END}{after}"


def main() -> None:
    """Write the table into docs/api.md."""
    path = Path(__file__).resolve().parents[2] / "docs" / "api.md"
    path.write_text(with_table(path.read_text()))


if __name__ == "__main__":
    main()
