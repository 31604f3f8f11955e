"""Failures that servers of OpenAI's API report in words alone, classed by whom they blame. Pure.

Each of these has the status, and often the code, of something else; this is the one place that knows the texts, and a
new wording makes it what its status says. Sources: OpenAI's and Groq's 429 and 413 for a request that is larger than a
minute's quota; OpenRouter's 404 where no provider of a model takes a parameter; of turns vLLM (#6862), Perplexity and
DeepSeek (BerriAI/litellm#8018); of contents DeepSeek and Groq (cline/cline#230), Ollama's /v1 (pydantic-ai#5206) and
older llama.cpp servers (#13471); of fields Groq, Cerebras and Azure (zed-industries/zed#36215, #52000).
"""

from __future__ import annotations

import re
from typing import Final

from shared.errors import ContextTooLong, GatewayError, Unsupported
from workers.providers.http.error_body import Report, template_failure

TOO_LARGE = "Request too large for"
NOBODY = "No endpoints found that support"
_TURNS: Final = re.compile(
    r"(?:role|message|user).*\balternat(?:e|ing)\b|successive user|invalid_request_message_order",
    re.IGNORECASE | re.DOTALL,
)
_OF_CONTENT: Final = re.compile(r"content|messages?\b", re.IGNORECASE)
_OF_FORM: Final = re.compile(r"\bstring\b|\bnull\b|<nil>|\brequired\b|\bmissing\b", re.IGNORECASE)
_UNKNOWN: Final = re.compile(
    r"unsupported|not supported|unrecognized|unknown|unexpected|not permitted|not allowed|extra (?:inputs|fields)",
    re.IGNORECASE,
)


def wants_turns(text: str) -> bool:
    """Return whether a rejection's text is about roles that do not alternate."""
    return _TURNS.search(text) is not None


def wants_plain_text(text: str) -> bool:
    """Return whether a rejection's text is about the form of a message's content."""
    return _OF_CONTENT.search(text) is not None and _OF_FORM.search(text) is not None


def is_unknown(name: str, report: Report, text: str) -> bool:
    """Return whether a rejection is about a field that the server does not know."""
    is_named = re.search(rf"(?:^|[\s'\"`.]){re.escape(name)}(?:$|[\s'\"`:,.])", text) is not None
    searched = f"{report.code} {text}"
    return _UNKNOWN.search(searched) is not None and (is_named or (report.param or "").rpartition(".")[2] == name)


def from_status_error(failure: GatewayError, report: Report) -> GatewayError:
    """Return the error for a failure status: as classified, but for what only its text tells apart.

    Args:
        failure: as its status and code say.
        report: what the server said.
    """
    if report.message.startswith(TOO_LARGE):
        # No waiting helps, and the account serves all others. The text names the account.
        return ContextTooLong("The request is larger than what the model server takes in a minute.", param="messages")
    if report.message.startswith(NOBODY):
        param = "tool_choice" if "tool_choice" in report.message else "tools" if "tool" in report.message else None
        return Unsupported(report.message, param=param, code="unsupported_parameter")
    return template_failure(report) or failure
