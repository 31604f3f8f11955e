"""Everything that can go wrong with a request, classed by what follows from it.

    GatewayError                 status, type, code, param and a public message
      CallerError                the caller must change something: never retried, no upstream blamed
        InvalidRequest 400       ContextTooLong 400      ModelNotConfigured 400   Unauthenticated 401
        ModelNotAllowed 403      UnknownModel 404        NotFound 404             MethodNotAllowed 405
        BodyTooLarge 413         RateLimited 429         BudgetSpent 429          Unsupported 400
        ParameterUnsupported 400 Conflict 409
      UpstreamError              the model's server failed: its class says what follows for it
        Throttled 429            Rejected 502            Unavailable 502          FirstTokenTimeout 504
        Malformed 502            StreamBroken 502         ModelMissing 404         ModelDenied 404
      WorkerLost 502             the worker died: the same tier may be tried again
        LostAtLargeAnswer 502    the same, over an answer that may be the reason: nobody else gets it
      Overloaded 503             Draining 503            InternalFault 500        Cancelled 499

They cross processes as `ErrorInfo` and leave the api through `api/http/errors.py` in OpenAI's format
(`ErrorResponse` of OpenAI's OpenAPI document).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, Literal, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


MOST_MESSAGE_CHARS: Final = 2_000
MOST_PARAM_CHARS: Final = 200
MOST_REASON_CHARS: Final = 500
"""Errors quote what clients and upstreams sent. They travel in one frame, and stand in logs and records."""


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A GatewayError as it travels from a worker to the api."""

    kind: str
    status: int
    type: str
    message: str
    code: str | None = None
    param: str | None = None
    retry_after_s: float | None = None
    # Decided where the failure is seen: only the worker knows its accounts.
    retry_here: bool = False
    cost_usd: float = 0.0
    reason: str = ""


class GatewayError(Exception):
    """A failure with a public face.

    Args:
        message: shown to the caller; must hold no secret and no text of an upstream that may hold one.
        param: the request's parameter that is to blame, in OpenAI's notation (`messages[0].role`).
        code: overrides the class's code.
        retry_after_s: seconds after which a new try makes sense; sent as Retry-After.

    Attributes:
        retry_here: whether another account of the same backend may serve the request.
        cost_usd: what a paid upstream bills for the attempt all the same, in US dollars.
        reason: what the upstream itself said, masked and bounded; for the operator only.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: str | None = None
    fails_over: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.message = shortened(message, MOST_MESSAGE_CHARS)
        super().__init__(self.message)
        self.param = shortened(param, MOST_PARAM_CHARS) if param else param
        self.code = shortened(code, MOST_PARAM_CHARS) if code else self.code
        self.retry_after_s = retry_after_s
        self.retry_here = False
        self.cost_usd = 0.0
        self.reason = ""

    def show_reason(self) -> None:
        """Let the caller read what the upstream said, too."""
        if self.reason:
            self.message = f"{self.message} It said: {self.reason}"

    def to_info(self) -> ErrorInfo:
        """Return this error as it travels to another process."""
        return ErrorInfo(
            kind=type(self).__name__,
            status=self.status,
            type=self.type,
            message=self.message,
            code=self.code,
            param=self.param,
            retry_after_s=self.retry_after_s,
            retry_here=self.retry_here,
            cost_usd=self.cost_usd,
            reason=self.reason,
        )


def shortened(text: str, most_chars: int) -> str:
    """Return a text of at most `most_chars` characters: its two ends, where it is longer."""
    if len(text) <= most_chars:
        return text
    # Both ends: what is wrong often stands at the end of a text, and what it is about at its beginning.
    kept = (most_chars - 3) // 2
    return f"{text[:kept]}...{text[-kept:]}"


class CallerError(GatewayError):
    """The caller must change something. Never retried; no account or upstream is blamed."""

    status = 400
    type = "invalid_request_error"


class InvalidRequest(CallerError):
    """The body or a parameter is wrong."""


class Unsupported(InvalidRequest):
    """This model cannot do what a parameter asks for; another tier's may."""

    fails_over = True


class ParameterUnsupported(Unsupported):
    """An upstream says, by a structured code, that its model does not take a parameter of OpenAI's, or this value."""


class ContextTooLong(CallerError):
    """The prompt does not fit the model; another tier's may be larger."""

    fails_over = True
    code = "context_length_exceeded"


class ModelNotConfigured(CallerError):
    """The model is known, but the server lacks what it needs; the message names the variable."""

    code = "model_not_configured"


class Unauthenticated(CallerError):
    """No key, or one that is not valid."""

    status = 401
    code = "invalid_api_key"


class ModelNotAllowed(CallerError):
    """The key may not use this model or feature."""

    status = 403
    code = "model_not_allowed"


class UnknownModel(CallerError):
    """No such model."""

    status = 404
    code = "model_not_found"


class NotFound(CallerError):
    """No such path or object."""

    status = 404
    code = "not_found"


class MethodNotAllowed(CallerError):
    """The path exists, with other methods: those that are `allowed`."""

    status = 405
    code = "method_not_allowed"
    allowed: Iterable[str] = ()


class Conflict(CallerError):
    """The object is in a state that does not allow this."""

    status = 409
    code = "conflict"


class BodyTooLarge(CallerError):
    """The request body is over the limit."""

    status = 413
    code = "request_too_large"


class RateLimited(CallerError):
    """The key's requests per minute are used up."""

    status = 429
    type = "requests"
    code = "rate_limit_exceeded"


class BudgetSpent(CallerError):
    """This month's budget for paid models, the gateway's or the key's, does not cover the request."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"


class UpstreamError(GatewayError):
    """The model's server failed; before any content the next tier is tried.

    Attributes:
        is_overload: it said that it has too much to do (503, or Anthropic's 529). Not sent to other processes.
    """

    is_overload = False

    status = 502
    code = "upstream_error"
    fails_over = True


QuotaPeriod = Literal["minute", "day", "unknown"]


class Throttled(UpstreamError):
    """The upstream refuses for now; its account cools down until `retry_after_s`.

    Attributes:
        period: what the quota that is spent counts over, where there is one. A daily one comes back at a fixed time of
            the day, whatever `retry_after_s` is.
        limits: the quotas' own values, where the upstream names them, by the fields of the catalogue's `Quota`.
    """

    period: QuotaPeriod = "unknown"
    limits: Mapping[str, int] = {}

    status = 429
    type = "requests"
    code = "upstream_rate_limited"


class Rejected(UpstreamError):
    """The upstream refuses the credential: the account cools down and the operator is warned."""

    code = "upstream_credential_rejected"


class ModelMissing(UpstreamError):
    """The upstream has no such model. The caller named it, but another candidate may have one: that is tried."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"


class ModelDenied(ModelMissing):
    """The account may not use this model; it may use others, and other accounts this one."""


class Unavailable(UpstreamError):
    """The upstream cannot be reached or answers with a server error."""

    code = "upstream_unavailable"


class FirstTokenTimeout(UpstreamError):
    """The upstream did not begin to answer in time."""

    status = 504
    code = "upstream_timeout"


class Malformed(UpstreamError):
    """The upstream's answer cannot be read."""

    code = "upstream_garbled"


class StreamBroken(UpstreamError):
    """The upstream's answer broke off."""

    code = "upstream_stream_broken"


class WorkerLost(GatewayError):
    """The worker that held the attempt went silent."""

    status = 502
    code = "worker_lost"
    fails_over = True


class LostAtLargeAnswer(WorkerLost):
    """The worker went silent while it read a large answer, which may be the reason: it is tried with no other one."""

    fails_over = False


class Overloaded(GatewayError):
    """Nothing can take the request now."""

    status = 503
    code = "overloaded"


class Draining(GatewayError):
    """This process is shutting down."""

    status = 503
    code = "draining"
    fails_over = True


class WorkerOutdated(Draining):
    """This worker is older than what it was asked; another one may know it."""

    code = "worker_outdated"


class Cancelled(GatewayError):
    """Nobody waits for it any more. Recorded in the usage log; what its client may still get are its subclasses."""

    status = 499
    code = "cancelled"


class ClientTooSlow(Cancelled):
    """The connection was aborted because the client did not read. Never sent to anyone; recorded in the usage log."""

    code = "client_too_slow"


class CancelledOnRequest(Cancelled):
    """Its owner or the operator has cancelled it, and says so to a client that still waits.

    A client that gets it must not ask again, as clients do for 408, 409, 429 and all of 500 and above.

    Attributes:
        by: who that was, for people.
    """

    code = "request_cancelled"
    by = "somebody"

    @classmethod
    def by_whom(cls, by: str) -> Self:
        """Return how a request ends that `by` has cancelled."""
        error = cls(f"The request was cancelled by {by}.")
        error.by = by
        return error


class DrainTimeout(Cancelled):
    """Its api process ended first. Never sent to anyone; recorded as what the client got, `draining`."""

    status = Draining.status
    code = Draining.code


class Superseded(Cancelled):
    """The same attempt runs elsewhere too, after a Redis that forgot that it had been claimed; never recorded."""

    code = "superseded"


class InternalFault(GatewayError):
    """A defect of ours: the text stays hidden, the request id is shown."""

    code = "internal_error"


class RelayFault(Cancelled):
    """Its api process could not read what came of it. Recorded as what the client got, `internal_error`."""

    status = InternalFault.status
    code = InternalFault.code


def _all_kinds(base: type[GatewayError]) -> dict[str, type[GatewayError]]:
    kinds = {base.__name__: base}
    for kind in base.__subclasses__():
        kinds |= _all_kinds(kind)
    return kinds


_KINDS = _all_kinds(GatewayError)


def from_info(info: ErrorInfo) -> GatewayError:
    """Return the error that travelled as `info`; one of a kind this version does not know stays a GatewayError."""
    # A worker of a newer version may send a kind that is not known here yet.
    kind = _KINDS.get(info.kind, UpstreamError if info.status >= 500 else CallerError)
    error = kind(info.message, param=info.param, code=info.code, retry_after_s=info.retry_after_s)
    error.retry_here, error.cost_usd = info.retry_here, info.cost_usd
    error.reason = shortened(info.reason, MOST_REASON_CHARS)
    return error


# OpenAI's and Groq's, GitHub Copilot's `model_not_supported`; Groq has a 400 for a model that is gone.
_MODEL_CODES: Final = frozenset({
    "model_not_found", "model_not_available", "model_access_denied", "model_decommissioned", "model_not_supported",
    "model_permission_blocked_org", "model_permission_blocked_project", "model_terms_required", "invalid_model",
})  # fmt: skip


def classify(
    status: int, code: str | None, message: str, *, param: str | None = None, retry_after_s: float | None = None
) -> GatewayError:
    """Return which error an upstream's HTTP failure is: by status and structured code, never by its text.

    Args:
        status: the upstream's HTTP status.
        code: its machine-readable code or type, if it sent one.
        message: what it said, shown to the caller where the caller is to blame.
        param: the parameter that it blames, if it named one.
        retry_after_s: its Retry-After, in seconds.
    """
    # OpenAI's and llama.cpp's.
    if code in {"context_length_exceeded", "exceed_context_size_error"}:
        return ContextTooLong(message, param=param)
    # Before the caller, who asked for what is listed, and the credential: one model is not all others.
    is_of_model = code in _MODEL_CODES and status in {400, 403, 422}
    if is_of_model or status in {404, 410} or (status == 403 and param == "model"):
        return _of_model(status, message)
    if status in {400, 413, 415, 422}:
        return InvalidRequest(message, param=param, code=code)
    # 402 too: an account that may not spend is the operator's to mend, not the caller's.
    if status in {401, 402, 403}:
        return Rejected("The model server refused the gateway's credential.")
    if status == 429:
        return Throttled("The model server is at its rate limit.", retry_after_s=retry_after_s)
    failure = Unavailable(f"The model server answered with status {status}.", retry_after_s=retry_after_s)
    # Told apart: where others are being served the slots adapt, and no breaker opens.
    failure.is_overload = status in {503, 529}
    return failure


def _of_model(status: int, message: str) -> ModelMissing:
    if status == 403:
        return ModelDenied("The model server does not let the gateway use this model.", param="model")
    return ModelMissing(f"The model server does not have this model: {message}", param="model")
