"""A question in the chat -> the body and the headers of a chat completion. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import UUID

import msgspec

from api.http.headers import TIER_HEADER
from api.prompt.headers import ADMIN_HEADER, APP_HEADER, KNOWLEDGE_HEADER, SESSION_HEADER
from shared.errors import InvalidRequest
from shared.models.catalogue import AUTO
from shared.types import MOST_NAME_CHARS

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

MOST_IMAGES: Final = 8
MOST_TEXT_CHARS: Final = 400_000
MOST_IMAGE_BYTES: Final = 4 * 1024 * 1024
MOST_IMAGE_CHARS: Final = 6_000_000
"""Of its data URL: as many bytes take a third more characters."""
IMAGE_TYPES: Final = ("image/png", "image/jpeg", "image/webp", "image/gif")
IMAGE: Final = re.compile(r"data:(image/(?:png|jpeg|webp|gif));base64,[A-Za-z0-9+/=\s]+")
Text = Annotated[str, msgspec.Meta(max_length=MOST_TEXT_CHARS)]
Image = Annotated[str, msgspec.Meta(max_length=MOST_IMAGE_CHARS)]
Images = Annotated[tuple[Image, ...], msgspec.Meta(max_length=MOST_IMAGES)]
Model = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_NAME_CHARS)]


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """The chosen model and tier, and what is put before the question."""

    model: Model = AUTO
    tier: Literal["", "local", "gemini", "paid"] = ""
    app: bool = False
    admin: bool = False
    knowledge: bool = False

    @property
    def query(self) -> dict[str, str]:
        """Return what differs from the usual as fields of a query, by which the next page has it too."""
        flags = {name: "true" for name in ("app", "admin", "knowledge") if getattr(self, name)}
        return {"model": "" if self.model == AUTO else self.model, "tier": self.tier, **flags}


class Question(Choices, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question in a session; `again`: its last one again, in place of the answer it had. Images are data URLs."""

    session_id: UUID
    text: Text = ""
    images: Images = ()
    again: bool = False


def question_of_json(raw: bytes) -> Question:
    """Read what a script of ours sends.

    Raises:
        InvalidRequest: it is something else; the text names the field.
    """
    try:
        return _checked(msgspec.json.decode(raw, type=Question))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(str(error)) from None


def question_of_form(form: MultiDict[str, str], images: tuple[str, ...] = (), **given: Any) -> Question:
    """Read what a form sends; the errors are those of `question_of_json`.

    Args:
        form: its fields.
        images: its files, as data URLs.
        given: what the form's address says.
    """
    fields = {name: form[name] for name in ("session_id", "text", "model", "tier") if name in form}
    flags = {name: name in form for name in ("app", "admin", "knowledge")}
    try:
        return _checked(msgspec.convert({**fields, **flags, "images": images, **given}, Question))
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error)) from None


def choices_of(arguments: MultiDict[str, str]) -> Choices:
    """Read choices of a query; what cannot be meant is as if it were not there."""
    fields = {name: arguments[name] for name in ("model", "tier") if name in arguments}
    flags = {name: arguments.get(name) == "true" for name in ("app", "admin", "knowledge")}
    try:
        return msgspec.convert({**fields, **flags}, Choices)
    except msgspec.ValidationError:
        return Choices()


def to_message(question: Question) -> dict[str, Any]:
    """Return a question as a message of OpenAI's."""
    if not question.images:
        return {"role": "user", "content": question.text}
    text = [{"type": "text", "text": question.text}] if question.text.strip() else []
    return {
        "role": "user",
        "content": [*text, *({"type": "image_url", "image_url": {"url": each}} for each in question.images)],
    }


def to_body(question: Question, message: Any, *, stream: bool) -> bytes:
    """Return the body of a chat completion.

    Args:
        question: what is asked.
        message: the question, as a message of OpenAI's.
        stream: whether the answer comes as events.
    """
    streamed = {"stream": True, "stream_options": {"include_usage": True}} if stream else {"stream": False}
    return msgspec.json.encode({"model": question.model, "messages": [message], **streamed})


def to_headers(question: Question) -> dict[str, str]:
    """Return the headers by which a client of the API would ask the same."""
    flags = {APP_HEADER: question.app, ADMIN_HEADER: question.admin, KNOWLEDGE_HEADER: question.knowledge}
    headers = {SESSION_HEADER: str(question.session_id), **{name: "true" for name, is_set in flags.items() if is_set}}
    return headers | ({TIER_HEADER: question.tier} if question.tier else {})


def _checked(question: Question) -> Question:
    if not question.again and not question.text.strip() and not question.images:
        raise InvalidRequest("There is nothing asked yet.", param="text")
    if not all(IMAGE.fullmatch(image) for image in question.images):
        raise InvalidRequest("Images are PNG, JPEG, WebP or GIF.", param="images")
    return question
