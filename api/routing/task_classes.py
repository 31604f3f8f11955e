"""The classes of tasks that the rules of `auto` are about: a request's endpoint, or what it says that it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, cast, get_args

from shared.errors import InvalidRequest

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

    from shared.types import Endpoint

TaskClass = Literal[
    "chat", "embeddings", "classify", "extract", "summarize", "code", "reason", "translate", "image_describe"
]
TASK_CLASSES: Final[tuple[TaskClass, ...]] = get_args(TaskClass)
TASK_HEADER: Final = "x-nself-task-class"
_OF_CHAT: Final = tuple(name for name in TASK_CLASSES if name != "embeddings")


def task_class_of(headers: Headers, endpoint: Endpoint) -> TaskClass:
    """Return what a request is for: what it says, else its endpoint.

    Raises:
        InvalidRequest: there is no such class, or this endpoint has it not.
    """
    text = headers.get(TASK_HEADER)
    if text is None:
        return endpoint
    allowed = _OF_CHAT if endpoint == "chat" else (endpoint,)
    name = text.strip().lower()
    if name not in allowed:
        raise InvalidRequest(
            f"{TASK_HEADER} must be one of {', '.join(allowed)} here.", param=TASK_HEADER, code="invalid_value"
        )
    return cast("TaskClass", name)
