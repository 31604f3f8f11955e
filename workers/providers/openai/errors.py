"""What servers of OpenAI's API say in words alone, classed by whom it blames. Pure.

Each of these has the status, and often the code, of something else; this is the one place that knows the texts, and a
new wording makes it what its status says. Sources: OpenAI's and Groq's 429 and 413 for a request that is larger than a
minute's quota; OpenRouter's 404 where no provider of a model takes a parameter.
"""

from __future__ import annotations

from shared.errors import ContextTooLong, GatewayError, Unsupported
from workers.providers.http.error_body import Report, template_refusal

TOO_LARGE = "Request too large for"
NOBODY = "No endpoints found that support"


def from_refusal(failure: GatewayError, report: Report) -> GatewayError:
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
    return template_refusal(report) or failure
