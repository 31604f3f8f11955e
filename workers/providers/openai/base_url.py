"""The base URL of an OpenAI-compatible API, and the way its key is sent: at Azure's older form, unlike all others.

Source: Azure OpenAI's reference (`POST {endpoint}/openai/deployments/{deployment-id}/chat/completions?api-version=...`,
key in the header `api-key`), and "API version lifecycle" (its v1 API, which is as OpenAI's). A bearer token means
Microsoft Entra in the older form, so a key must not be sent as one there. OpenAI's regions: its "Data residency".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from workers.providers.http.upstream import Upstream

if TYPE_CHECKING:
    import httpx

    from workers.providers.http.direct import DirectReply

MODEL: Final = "{model}"
"""Stands in a URL for the name of the model that is asked for, which is a deployment at Azure."""
_REGIONAL: Final = re.compile(r"https?://[a-z]{2}\.api\.openai\.com(?=[:/]|$)", re.IGNORECASE)


class BaseUrl:
    """A base URL taken apart.

    Args:
        url: with its version; may have `{model}` as a part of its path, and a query that goes with every request.
    """

    def __init__(self, url: str) -> None:
        url, _, self._query = url.partition("?")
        self.base_url, by_model, rest = url.rstrip("/").partition(f"/{MODEL}")
        self._before = by_model + rest

    @property
    def has_responses(self) -> bool:
        """Return whether the Responses API is there: Azure's older form has none for its deployments."""
        return not self._before

    @property
    def is_regional(self) -> bool:
        """Return whether it is OpenAI's API of one region, which it bills higher."""
        return _REGIONAL.match(self.base_url) is not None

    def upstream(self, api_key: str | None, connections: int) -> Upstream:
        """Return the connections to it."""
        if not self._query:
            return Upstream(self.base_url, api_key=api_key, connections=connections)
        return _WithQuery(self.base_url, self._query, api_key, connections)

    def path(self, path: str, model: str) -> str:
        """Return a call's path below the base URL, for a model by the API's own name."""
        return self._before.replace(MODEL, quote(model, safe="")) + path


class _WithQuery(Upstream):
    def __init__(self, base_url: str, query: str, api_key: str | None, connections: int) -> None:
        super().__init__(base_url, headers={"api-key": api_key} if api_key else None, connections=connections)
        self._query = query

    async def _send(self, method: str, path: str, content: bytes | None) -> httpx.Response | DirectReply:
        return await super()._send(method, f"{path}?{self._query}", content)
