"""Eligibility of models for a request, and its cost there: known before it is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from api.routing.key_bounds import NO_KEY_BOUNDS, KeyBounds
from api.routing.offers import not_offered, price_unknown, tool_price_unknown
from api.routing.task_classes import TaskClass
from shared.errors import CallerError, ContextTooLong, InvalidRequest
from shared.models.abilities import Needs, cannot_do, makes_one_choice, omitted, unmet
from shared.models.catalogue import ModelEntry, nano_usd
from shared.models.over_responses import LEAST_OUTPUT_TOKENS
from shared.models.parameters import HOSTED_TOOLS, NATIVE_ONLY
from shared.models.rejected_parameters import lacking
from shared.openai.prompt_size import MOST_CONTEXT, MostPrompt
from shared.queue.placement import NO_BUDGET_LIMITS, BudgetLimits, Candidate
from shared.types import Endpoint, Target

if TYPE_CHECKING:
    from shared.openai.request import ChatBody
    from shared.settings import Settings
    from shared.types import BackendInfo, LocalModel

LOAD_MS: Final = 8_000
"""Time that Ollama takes to read a model into memory, about."""
MOST_OUTPUT_TOKENS: Final = 128_000
"""For how much output a request reserves of the budget if nothing limits it: no known model writes more."""
MOST_SEARCHES: Final = 1
"""Number of searches of an answer of a model that searches the web: OpenAI's models of Chat Completions do it once."""
_SOUNDS: Final = frozenset({"audio", "earlier_audio"})
TOO_LONG: Final = 10_000
"""Added to the rank of a model whose context the prompt probably exceeds."""


class RoutingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a request that routing needs.

    Args:
        model: the name that it asks for.
        endpoint: what for.
        prompt_tokens: how long the prompt is, about.
        most_prompt: how much it may send at the most, for budgets.
        output_tokens: the most tokens that one choice may have, None where it does not say.
        choices: how many it wants.
        needs: what it needs a model to be able to do.
        effort: its `reasoning_effort`.
        has_tools: whether there are tools in it.
        service_tier: the one that it asks for.
        dialect: in which it is asked.
        may_be_cut: whether the oldest of the prompt may be left out where it is too long.
        limits: the budgets that it counts for.
        bounds: what its key may use.
        task_class: what it says that it is for, where that is not its endpoint alone.
    """

    model: str
    endpoint: Endpoint
    prompt_tokens: int
    most_prompt: MostPrompt = MostPrompt(0)
    output_tokens: int | None = None
    choices: int = 1
    needs: Needs = {}
    effort: str | None = None
    has_tools: bool = False
    service_tier: str = ""
    dialect: str = "chat"
    may_be_cut: bool = False
    limits: BudgetLimits = NO_BUDGET_LIMITS
    bounds: KeyBounds = NO_KEY_BOUNDS
    task_class: TaskClass | None = None


class Eligibility:
    """Judges models.

    Args:
        settings: the catalogue, and the most context of a model of one's own.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._catalogue = settings.catalogue

    def candidate(self, request: RoutingRequest, backend: BackendInfo, model: LocalModel) -> Candidate:
        """Return what places a request at this model."""
        length = self._context_length(backend, model)
        is_cold = model.loads_on_request and not model.is_loaded
        return Candidate(
            target=Target(backend.tier, backend.queue, model.id),
            rank=TOO_LONG if length is not None and request.prompt_tokens > length else 0,
            extra_ms=LOAD_MS if is_cold else 0,
            cost_nano_usd=self._most_nano_usd(request, backend, model)
            if backend.tier == "paid" and request.limits.is_limited
            else 0,
        )

    def refusal(self, request: RoutingRequest, backend: BackendInfo, model: LocalModel) -> CallerError | None:
        """Return the error of a model that may or can not serve a request, known before it is tried; None if it can."""
        if request.bounds is not NO_KEY_BOUNDS:
            forbidden = request.bounds.refusal(request.model, backend.tier, model.id)
            if forbidden is not None:
                return forbidden
        if request.endpoint not in model.endpoints:
            return InvalidRequest(
                f"The model '{model.id}' is not for {request.endpoint}.", param="model", code="wrong_endpoint"
            )
        if request.needs:
            refused = self._unmet(request, backend, model)
            if refused is not None:
                return refused
        # An estimate may be wrong by half; what is only probably too long is tried.
        length = self.longest_context(backend, model)
        is_too_long = length is not None and request.prompt_tokens > 2 * length and not request.may_be_cut
        if is_too_long and request.endpoint == "chat":
            return ContextTooLong(
                f"The prompt is about {request.prompt_tokens} tokens long; the model '{model.id}' takes {length}.",
                param="messages",
            )
        return self._unpriced(request, backend, model) if backend.tier == "paid" else None

    def _unpriced(self, request: RoutingRequest, backend: BackendInfo, model: LocalModel) -> CallerError | None:
        if not self._catalogue.has_price(model.id):
            # A list that is not known yet says nothing.
            is_unlisted = backend.models and all(offer.id != model.id for offer in backend.models)
            return not_offered(model.id, backend.provider) if is_unlisted else price_unknown(model.id)
        tool = request.needs.get(HOSTED_TOOLS) if request.limits.is_limited else None
        return None if tool is None else tool_price_unknown(tool)

    def omitted(self, body: ChatBody, backend: BackendInfo, model: str) -> tuple[str, ...]:
        """Return the parameters of a request that are left out where a model serves it."""
        if backend.tier == "local":
            offered = next((offer for offer in backend.models if offer.id == model), None)
            cannot = offered.cannot if offered else ()
        else:
            cannot = self._catalogue.entry(model).lacks_for(body)
        return omitted(body, backend.provider, (*cannot, *backend.unsupported(model)))

    def _unmet(self, request: RoutingRequest, backend: BackendInfo, model: LocalModel) -> CallerError | None:
        entry = ModelEntry() if backend.tier == "local" else self._catalogue.entry(model.id)
        lacks = entry.lacks(request.effort, has_tools=request.has_tools)
        cannot = (*model.cannot, *(word for word in lacks if word not in model.can))
        cannot += lacking(backend.unsupported(model.id))
        if backend.tier == "local":
            cannot += (NATIVE_ONLY,)  # only OpenAI's own Responses API can
        param = unmet(request.needs, backend.provider, cannot, strict=self._settings.strict_parameters)
        return None if param is None else cannot_do(param, model.id)

    def longest_context(self, backend: BackendInfo, model: LocalModel) -> int | None:
        """Return how many tokens a model takes at the most, None where that is not known."""
        length = self._context_length(backend, model)
        if length is not None and model.can_extend_context:
            # The request may ask for more context than models are loaded with by default.
            length = max(length, self._settings.ollama_max_num_ctx)
        return length

    def _context_length(self, backend: BackendInfo, model: LocalModel) -> int | None:
        if model.context_length is not None or backend.tier == "local":
            return model.context_length
        return self._catalogue.entry(model.id).context_length

    def _most_nano_usd(self, request: RoutingRequest, backend: BackendInfo, model: LocalModel) -> int:
        """Return what the request can cost at the most; at least something, so that a budget of 0 allows nothing."""
        entry, output = self._catalogue.entry(model.id), 0
        cannot = (*entry.lacks(request.effort, has_tools=request.has_tools), *backend.unsupported(model.id))
        # Who makes one choice at a time is asked once for each, and bills the prompt as often.
        calls = request.choices if makes_one_choice(backend.provider, cannot) else 1
        context = max(model.context_length or 0, entry.context_length or 0) or MOST_CONTEXT
        if request.endpoint == "chat":
            # A request that names no limit gets the model's own, which its API may state otherwise than the catalogue.
            known = max(model.max_output_tokens or 0, entry.max_output_tokens or 0)
            longest = known or min(context, MOST_OUTPUT_TOKENS)
            requested = request.output_tokens
            if requested is not None and entry.is_over_responses(request.effort, has_tools=request.has_tools):
                # OpenAI's Responses API takes no smaller bound, so that is what is sent.
                requested = max(requested, LEAST_OUTPUT_TOKENS)
            output = min(requested or longest, known or requested or longest)
            if "prediction" in request.needs:  # what of it is not taken is billed as output
                output += request.most_prompt.tokens
            output *= request.choices // calls
        # The most that it can be, not the estimate: a budget must hold for what is billed.
        most = request.most_prompt
        thoughts = most.thoughts if backend.provider == "anthropic" else 0
        prompt = max(request.prompt_tokens, most.tokens + most.images * entry.image_tokens + thoughts)
        searches = MOST_SEARCHES if "web_search_options" in request.needs else 0
        if request.endpoint == "chat":  # each input of embeddings may fill a context
            prompt = min(prompt, context)
        has_audio = not _SOUNDS.isdisjoint(request.needs)
        most_usd = entry.most_cost_usd(prompt, output, request.service_tier, searches, has_audio=has_audio)
        return max(1, nano_usd(most_usd * calls))
