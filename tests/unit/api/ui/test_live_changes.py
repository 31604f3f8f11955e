"""What the live page's stream sends: always enough to have what is there, and nothing twice."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.ui.pages.live.snapshot import BLANK, Item, Snapshot
from api.ui.pages.live.stream import Sent

_fields = st.fixed_dictionaries({"state": st.sampled_from(["waiting", "running"]), "model": st.sampled_from("ab")})
_items = st.lists(st.tuples(st.sampled_from("pqrst"), _fields), unique_by=lambda pair: pair[0], max_size=5)
snapshots = st.builds(
    lambda summary, requests, workers: Snapshot(
        {"waiting": summary},
        {"requests": [Item(*pair) for pair in requests], "workers": [Item(*pair) for pair in workers]},
        {key: place for place, (key, _) in enumerate(requests)},
    ),
    st.integers(0, 2),
    _items,
    _items,
)


class Page:
    """A browser: it does with changes what live.js does."""

    def __init__(self) -> None:
        self.summary: dict[str, Any] = {}
        self.lists: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        self.positions: dict[str, int] = {}

    def take(self, changes: dict[str, Any]) -> None:
        """Take what the stream sent."""
        self.summary = changes.get("summary", self.summary)
        self.positions = changes.get("positions", self.positions)
        for name, change in changes.get("lists", {}).items():
            before = dict(self.lists.get(name, ()))
            self.lists[name] = [(key, change["changed"].get(key, before.get(key))) for key in change["order"]]


@given(seen=st.lists(snapshots, min_size=1, max_size=6))
def test_a_page_that_takes_every_change_shows_the_last_snapshot(seen: list[Snapshot]) -> None:
    """Whatever came before; also where it missed some in between."""
    page, sent = Page(), Sent()
    for snapshot in seen:
        page.take(sent.changes(snapshot))
        assert page.summary == snapshot.summary
        assert page.positions == snapshot.positions
        assert page.lists == {
            name: [(item.key, item.fields) for item in items] for name, items in snapshot.lists.items()
        }


@given(snapshot=snapshots)
def test_what_a_page_has_is_not_sent_again(snapshot: Snapshot) -> None:
    """The same snapshot has no changes; of another one only what differs is sent."""
    sent = Sent()
    sent.changes(snapshot)
    assert sent.changes(snapshot) == {}
    more = Item("new", {"state": "waiting", "model": "a"})
    requests = [*snapshot.lists["requests"], more]
    changes = sent.changes(Snapshot(snapshot.summary, snapshot.lists | {"requests": requests}, snapshot.positions))
    assert changes["lists"]["requests"]["changed"] == {"new": more.fields}
    assert set(changes["lists"]) == {"requests"}


def test_each_kind_has_a_template_of_nothing() -> None:
    """Or the script could not make its rows."""
    assert set(BLANK) == {"backends", "workers", "requests"}
