"""Every URL of the web UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.ui.assets import send_asset
from api.ui.pages.admin.handlers import refresh_snapshot, show_admin, show_audit, show_doctor, show_settings
from api.ui.pages.chat.answers import answer_again, edit_question, send_question, stop_answer, stream_answer
from api.ui.pages.chat.changes import archive_chat, branch_chat, delete_chat, export_chat, rename_chat
from api.ui.pages.chat.show import show_chat, show_chat_list, show_markdown, show_new_chat, show_turn, show_underway
from api.ui.pages.keys.handlers import (
    change_key,
    create_key,
    revoke_key,
    rotate_key,
    show_key,
    show_key_form,
    show_keys,
    show_new_key,
)
from api.ui.pages.knowledge.handlers import (
    add_note,
    put_document,
    remove_document,
    remove_note,
    show_chunk,
    show_chunks,
    show_documents,
    show_knowledge,
    show_notes,
)
from api.ui.pages.live.handlers import (
    cancel_request,
    drain_worker,
    pause_backend,
    resume_backend,
    show_live,
    show_requests,
    stream_live,
)
from api.ui.pages.models.gemini import (
    add_account,
    change_account,
    remove_account,
    show_account_form,
    show_new_account,
    switch_account,
)
from api.ui.pages.models.handlers import (
    change_order,
    install_model,
    remove_model,
    show_library,
    show_models,
    show_prices,
)
from api.ui.pages.overview.handlers import show_overview
from api.ui.pages.usage.handlers import download_usage, show_request, show_usage
from api.ui.roots import not_found, redirect_root, redirect_to_first
from api.ui.sign_in.handlers import show_sign_in, sign_in, sign_out, sign_out_everywhere
from api.ui.theme import set_theme

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quart import Response

    Url = tuple[str, str, Callable[..., Awaitable[Response]]]

OPEN_URLS: Final[tuple[Url, ...]] = (
    ("GET", "/", redirect_root),
    ("GET", "/ui/static/<state>/<path:name>", send_asset),
    ("GET", "/ui/sign-in", show_sign_in),
    ("POST", "/ui/sign-in", sign_in),
)
"""URLs that need no sign-in."""
UI_URLS: Final[tuple[Url, ...]] = (
    ("GET", "/ui", redirect_to_first),
    ("GET", "/ui/", redirect_to_first),
    ("POST", "/ui/theme", set_theme),
    ("POST", "/ui/sign-out", sign_out),
    ("POST", "/ui/sign-out-everywhere", sign_out_everywhere),
    ("GET", "/ui/overview", show_overview),
    ("GET", "/ui/live", show_live),
    ("GET", "/ui/live/events", stream_live),
    ("GET", "/ui/live/requests", show_requests),
    ("POST", "/ui/live/pause", pause_backend),
    ("POST", "/ui/live/resume", resume_backend),
    ("POST", "/ui/live/requests/<request_id>/cancel", cancel_request),
    ("POST", "/ui/live/workers/<worker_id>/drain", drain_worker),
    ("GET", "/ui/models", show_models),
    ("GET", "/ui/models/prices", show_prices),
    ("POST", "/ui/models/order", change_order),
    ("GET", "/ui/models/ollama", show_library),
    ("POST", "/ui/models/ollama/install", install_model),
    ("POST", "/ui/models/ollama/remove", remove_model),
    ("GET", "/ui/models/gemini/new", show_new_account),
    ("POST", "/ui/models/gemini/new", add_account),
    ("GET", "/ui/models/gemini/<name>", show_account_form),
    ("POST", "/ui/models/gemini/<name>", change_account),
    ("POST", "/ui/models/gemini/<name>/switch", switch_account),
    ("POST", "/ui/models/gemini/<name>/remove", remove_account),
    ("GET", "/ui/keys", show_keys),
    ("GET", "/ui/keys/new", show_new_key),
    ("POST", "/ui/keys/new", create_key),
    ("GET", "/ui/keys/<key_id>", show_key),
    ("GET", "/ui/keys/<key_id>/edit", show_key_form),
    ("POST", "/ui/keys/<key_id>/edit", change_key),
    ("POST", "/ui/keys/<key_id>/rotate", rotate_key),
    ("POST", "/ui/keys/<key_id>/revoke", revoke_key),
    ("GET", "/ui/usage", show_usage),
    ("GET", "/ui/usage/download", download_usage),
    ("GET", "/ui/usage/<request_id>", show_request),
    ("GET", "/ui/chat", show_new_chat),
    ("POST", "/ui/chat/send", send_question),
    ("POST", "/ui/chat/stream", stream_answer),
    ("POST", "/ui/chat/markdown", show_markdown),
    ("GET", "/ui/chat/list", show_chat_list),
    ("GET", "/ui/chat/<session_id>", show_chat),
    ("GET", "/ui/chat/<session_id>/turns/<request_id>", show_turn),
    ("GET", "/ui/chat/<session_id>/underway/<request_id>", show_underway),
    ("POST", "/ui/chat/<session_id>/stop", stop_answer),
    ("GET", "/ui/chat/<session_id>/export", export_chat),
    ("POST", "/ui/chat/<session_id>/again", answer_again),
    ("POST", "/ui/chat/<session_id>/edit", edit_question),
    ("POST", "/ui/chat/<session_id>/branch", branch_chat),
    ("POST", "/ui/chat/<session_id>/rename", rename_chat),
    ("POST", "/ui/chat/<session_id>/archive", archive_chat),
    ("POST", "/ui/chat/<session_id>/delete", delete_chat),
    ("GET", "/ui/knowledge", show_knowledge),
    ("GET", "/ui/knowledge/chunks", show_chunks),
    ("GET", "/ui/knowledge/chunks/<path:chunk_id>", show_chunk),
    ("GET", "/ui/knowledge/documents", show_documents),
    ("POST", "/ui/knowledge/documents", put_document),
    ("POST", "/ui/knowledge/documents/<document_id>/remove", remove_document),
    ("GET", "/ui/knowledge/notes", show_notes),
    ("POST", "/ui/knowledge/notes", add_note),
    ("POST", "/ui/knowledge/notes/<note_id>/remove", remove_note),
    ("GET", "/ui/admin", show_admin),
    ("POST", "/ui/admin/snapshot", refresh_snapshot),
    ("GET", "/ui/admin/audit", show_audit),
    ("GET", "/ui/admin/settings", show_settings),
    ("GET", "/ui/admin/doctor", show_doctor),
    *((method, "/ui/<path:rest>", not_found) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")),
)
FOR_ADMIN_KEYS: Final = frozenset({
    *(set_theme, sign_out, not_found, create_key, change_key, rotate_key, revoke_key),
    *(send_question, stream_answer, stop_answer, show_markdown, answer_again, edit_question, branch_chat),
    *(rename_chat, archive_chat, delete_chat),
})  # fmt: skip
"""URLs that change something and that an admin key may use too; all others want the password."""
