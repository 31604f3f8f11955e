"""The table of pages: what the navigation leads to, in its order."""

from __future__ import annotations

from typing import Final, NamedTuple


class Page(NamedTuple):
    """A page of the navigation: its path below /ui, what it is called, and its icon in `icons.html`."""

    name: str
    title: str
    icon: str


OVERVIEW: Final = Page("overview", "Overview", "overview")
LIVE: Final = Page("live", "Live", "live")
KEYS: Final = Page("keys", "Keys", "key")
USAGE: Final = Page("usage", "Usage", "usage")
MODELS: Final = Page("models", "Models & tiers", "models")
CHAT: Final = Page("chat", "Chat", "chat")
KNOWLEDGE: Final = Page("knowledge", "Knowledge", "knowledge")
ADMIN: Final = Page("admin", "Admin", "admin")

PAGES: Final = (OVERVIEW, LIVE, KEYS, USAGE, MODELS, CHAT, KNOWLEDGE, ADMIN)
"""/ui leads to the first."""
