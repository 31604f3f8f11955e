"""Unknown names in a query string are refused by name: a filter with a typo in it would show, or change, too much.

A GET takes the names that its handler looks for, and those that it declares because clients send them: they are
compared once it has answered. What changes something is refused before, so it declares what it takes.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypeVar

from quart import current_app, request
from werkzeug.datastructures import MultiDict

from shared.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from quart import Response

_Handler = TypeVar("_Handler", bound="Callable[..., Any]")

_SHOWN_CHARS: Final = 100


def takes_query(*names: str) -> Callable[[_Handler], _Handler]:
    """Declare names that a handler takes in the query string, beside those that a GET looks for."""

    def declare(handler: _Handler) -> _Handler:
        handler.query_names = frozenset(names)  # type: ignore[attr-defined]  # read by `_declared` alone
        return handler

    return declare


class LookedFor(MultiDict[str, str]):
    """The arguments of a query string, which note the names that are looked for."""

    def __init__(self, arguments: MultiDict[str, str]) -> None:
        super().__init__(arguments)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return super().__contains__(name)

    def get(self, key: str, *arguments: Any, **options: Any) -> Any:
        self.names.add(key)
        return super().get(key, *arguments, **options)

    def getlist(self, key: str, *arguments: Any, **options: Any) -> list[Any]:
        self.names.add(key)
        return super().getlist(key, *arguments, **options)


def watch_query() -> None:
    """Prepare for `check_query`; refuse an unknown name at once where the request would change something.

    Raises:
        InvalidRequest: there is one.
    """
    if not request.query_string:
        return
    if request.method == "GET":
        request.args = LookedFor(request.args)
    else:
        _refuse_others(_declared())


def check_query(response: Response) -> None:
    """Check the names of a GET that was answered.

    Raises:
        InvalidRequest: one of them means nothing there.
    """
    if request.query_string and isinstance(request.args, LookedFor) and response.status_code < 400:
        _refuse_others(request.args.names | _declared())


def _declared() -> frozenset[str]:
    handler = current_app.view_functions.get(request.endpoint or "")
    return getattr(handler, "query_names", frozenset())


def _refuse_others(known: Collection[str]) -> None:
    for name in request.args.keys():  # noqa: SIM118 -- a MultiDict; iterating it looks names up
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.5)
            others = f"did you mean {near[0]}?" if near else f"it takes {', '.join(sorted(known)) or 'none'}."
            raise InvalidRequest(f"{name[:_SHOWN_CHARS]!r} is no query parameter of this: {others}")
