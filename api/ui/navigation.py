"""The table of pages: what the navigation leads to, in its order."""

from __future__ import annotations

from typing import Final, NamedTuple


class Page(NamedTuple):
    """A page of the navigation.

    Args:
        name: its path below /ui.
        title: what it is called.
        icon: in `icons.html`.
        wants_password: whether what can be changed there is not for who signed in with an admin key.
    """

    name: str
    title: str
    icon: str
    wants_password: bool = False


OVERVIEW: Final = Page("overview", "Overview", "overview")
LIVE: Final = Page("live", "Live", "live", wants_password=True)
KEYS: Final = Page("keys", "Keys", "key")
USAGE: Final = Page("usage", "Usage", "usage")
MODELS: Final = Page("models", "Models & tiers", "models", wants_password=True)
CHAT: Final = Page("chat", "Chat", "chat")
KNOWLEDGE: Final = Page("knowledge", "Knowledge", "knowledge", wants_password=True)
ADMIN: Final = Page("admin", "Admin", "admin", wants_password=True)

PAGES: Final = (OVERVIEW, LIVE, KEYS, USAGE, MODELS, CHAT, KNOWLEDGE, ADMIN)
"""/ui leads to the first."""
