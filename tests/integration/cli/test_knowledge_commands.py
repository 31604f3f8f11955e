"""`nself claw knowledge` against a running gateway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.fleet import INTERNAL_SECRET, Fleet, ready
from tests.integration.cli.managed import claw
from tests.unit.cli.knowledge.made_files import docx, pdf

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Eventually


@pytest.fixture(autouse=True)
async def gateway(fleet: Fleet, tmp_path: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve a gateway where the command looks for it."""
    api = await fleet.api()
    await fleet.worker()
    await ready(api, eventually)
    monkeypatch.setenv("NSELF_CLAW_URL", api.url)
    monkeypatch.setenv("PLUGIN_INTERNAL_SECRET", INTERNAL_SECRET)
    monkeypatch.setenv("CLAW_DATA_DIR", str(tmp_path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Documents of each kind, and what is none."""
    made = tmp_path / "documents"
    (made / "deep" / ".hidden").mkdir(parents=True)
    (made / "handbook.md").write_text("# Vacation\n\nAsk the purple wombat.\n\n# Coffee\n\nSecond floor.")
    (made / "notes.txt").write_text("The zebracorn is in the cellar.")
    (made / "page.html").write_text("<h1>Lunch</h1><p>At noon with the quokkadile.</p><script>evil()</script>")
    (made / "deep" / "scan.pdf").write_bytes(pdf("The llamaphant sleeps."))
    (made / "deep" / "letter.docx").write_bytes(docx(("Heading1", "Dear"), ("", "The giraffodile sends love.")))
    (made / "deep" / ".hidden" / "secret.md").write_text("hidden")
    (made / "binary.bin").write_bytes(b"\x00")
    (made / "link.md").symlink_to("/etc/hostname")
    return made


async def added(*paths: object, fails: bool = False) -> dict[str, Any]:
    """Return what `add` did."""
    result = await claw("knowledge", "add", *map(str, paths), "--json")
    assert result.exit_code == int(fails), result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


async def test_a_folder_is_added_searched_changed_and_removed(folder: Path) -> None:
    """Every kind of document; only what has changed is done again."""
    counts = {"added": 5, "changed": 0, "unchanged": 0, "failed": {}}
    assert await added(folder) == counts
    for word, name in (
        ("wombat", "handbook"), ("zebracorn", "notes"), ("quokkadile", "page"), ("llamaphant", "scan"),
        ("giraffodile", "letter"),
    ):  # fmt: skip
        found = json.loads((await claw("knowledge", "search", word, "--json")).stdout)["chunks"]
        assert [chunk["id"].split("-")[1] for chunk in found] == [name]
    assert await added(folder) == {"added": 0, "changed": 0, "unchanged": 5, "failed": {}}
    (folder / "notes.txt").write_text("The zebracorn has moved.")
    assert await added(folder) == {"added": 0, "changed": 1, "unchanged": 4, "failed": {}}
    assert "has moved" in (await claw("knowledge", "search", "zebracorn")).output
    assert "notes.txt" in (await claw("knowledge", "list", "--documents")).output
    removed = await claw("knowledge", "remove", str(folder / "notes.txt"))
    assert removed.exit_code == 0, removed.output
    assert "Nothing found" in (await claw("knowledge", "search", "zebracorn")).output
    assert (await claw("knowledge", "remove", "no-such")).exit_code == 1


async def test_what_cannot_be_read_is_said_and_the_rest_is_added(folder: Path) -> None:
    """With exit code 1; and a file of no known kind that is named is no guess."""
    (folder / "broken.pdf").write_bytes(b"%PDF rubbish")
    found = await added(folder, fails=True)
    assert found["added"] == 5
    assert list(found["failed"]) == [str(folder / "broken.pdf")]
    named = await claw("knowledge", "add", str(folder / "binary.bin"))
    assert named.exit_code == 1
    assert ".docx" in named.output


async def test_notes_are_added_listed_and_deleted() -> None:
    """They are shown with their chunk."""
    chunk = json.loads((await claw("knowledge", "search", "redis", "--json")).stdout)["chunks"][0]["id"]
    made = json.loads((await claw("knowledge", "note", "add", chunk, "Ours is a zebracorn.", "--json")).stdout)["id"]
    assert "Note: Ours is a zebracorn." in (await claw("knowledge", "search", "zebracorn")).output
    assert made in (await claw("knowledge", "note", "list", chunk)).output
    assert (await claw("knowledge", "note", "delete", made)).exit_code == 0
    assert "No notes" in (await claw("knowledge", "note", "list")).output
    assert (await claw("knowledge", "note", "delete", "../x")).exit_code == 2
    assert (await claw("knowledge", "note", "add", "no-such", "x")).exit_code == 1


async def test_the_base_is_listed_and_has_a_version() -> None:
    """And says how it is searched."""
    version = (await claw("knowledge", "version")).output
    assert "Searched by: text: there are no vectors yet" in version
    listed = (await claw("knowledge", "list", "--category", "nginx")).output
    assert "nginx-restart" in listed
    assert "gateway-api" not in listed
    everything = json.loads((await claw("knowledge", "list", "--json")).stdout)["chunks"]
    whole = json.loads((await claw("knowledge", "version", "--json")).stdout)["total_chunks"]
    assert len({chunk["id"] for chunk in everything}) == whole


async def test_the_search_is_measured(tmp_path: Path) -> None:
    """Of questions whose chunks are known; the held out ones are apart."""
    file = tmp_path / "questions.toml"
    file.write_text("".join(
        f'[[question]]\ntext = "{text}"\nchunks = ["nginx-restart"]\nlanguage = "en"\nheld_out = {held_out}\n'
        for text, held_out in (("restart nginx", "false"), ("xyzzy", "false"), ("restart nginx", "true"))
    ))  # fmt: skip
    tuned = json.loads((await claw("knowledge", "eval", str(file), "--json")).stdout)
    assert tuned["measured"]["all"]["text"]["recall"][0] == 0.5
    assert "vectors" not in tuned["measured"]["all"]
    held_out = json.loads((await claw("knowledge", "eval", str(file), "--held-out", "--json")).stdout)
    assert held_out["measured"]["all"]["fused"]["mrr"][0] == 1.0
    assert "recall@5" in (await claw("knowledge", "eval", str(file))).output
    file.write_text("question = 1")
    assert (await claw("knowledge", "eval", str(file))).exit_code == 1
