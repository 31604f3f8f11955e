"""`nself claw chat` beside a real gateway whose model says what a test wants."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Final

import openai
import pytest

from tests.fleet import INTERNAL_SECRET, Fleet, Process
from tests.integration.cli.chat.terminal import CTRL_C, CTRL_D, in_pipe, on_terminal
from tests.upstreams.openai.replies import chunk, text
from tests.upstreams.scripted import Act, ScriptedUpstream, json_answer, sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

    from tests.conftest import Eventually

FIRST: Final = chunk({"role": "assistant", "content": "The first words"})
_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture
async def model() -> AsyncIterator[ScriptedUpstream]:
    """Yield the model's server."""
    async with ScriptedUpstream() as server:
        yield server


@pytest.fixture
def fleet_environment(model: ScriptedUpstream) -> dict[str, str]:
    """Return the settings that have it as the only one."""
    return {"CLAW_LOCAL_OPENAI_URL": f"{model.url}/v1"}


@pytest.fixture
async def gateway(api: Process, client: httpx.AsyncClient, eventually: Eventually) -> Process:
    """Return the gateway, once it has the model."""

    async def offers() -> bool:
        return (await client.get("/v1/models/scripted")).status_code == 200

    await eventually(offers)
    return api


@pytest.fixture
async def environment(fleet: Fleet, gateway: Process, tmp_path: Path) -> dict[str, str]:
    """Return what a user has set: the gateway and a key."""
    folder = tmp_path / "user"
    folder.mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "CLAW_DATA_DIR": str(folder),
        "NSELF_CLAW_URL": gateway.url,
        "NSELF_CLAW_API_KEY": await fleet.key(),
        "PLUGIN_INTERNAL_SECRET": INTERNAL_SECRET,
    }


def given(model: ScriptedUpstream, request: int = -1) -> list[tuple[str, str]]:
    """Return what the model was told: roles and texts."""
    return [(message["role"], message["content"]) for message in model.requests[request].body["messages"]]


async def test_ctrl_c_stops_the_answer_and_a_second_one_leaves(
    environment: dict[str, str], model: ScriptedUpstream
) -> None:
    """The model is stopped too, what it said is remembered, and the chat goes on."""
    model.add(sse(FIRST, Act.HANG), sse(text("Of ", "course.")))
    async with on_terminal(environment) as terminal:
        await terminal.ask("Hello")
        # While the model has not ended: it is shown as it comes.
        await terminal.until("The first words")
        await terminal.type(CTRL_C)
        await terminal.until("(stopped, local, scripted")
        await model.until(lambda: model.aborted == 1)
        await terminal.ask("Go on")
        await terminal.until("Of course.")
        await terminal.until("(local, scripted, 7 + 2 tokens, ")
        await terminal.until(">>> ")
        await terminal.interrupt()
        await terminal.until("nself claw chat --session")
        assert await terminal.code() == 0
    assert given(model) == [("user", "Hello"), ("assistant", "The first words"), ("user", "Go on")]


async def test_a_line_that_was_begun_is_dropped_by_ctrl_c(environment: dict[str, str], model: ScriptedUpstream) -> None:
    """Only on an empty line it leaves."""
    model.add(sse(text("Yes.")))
    async with on_terminal(environment) as terminal:
        await terminal.until(">>> ")
        await terminal.type("half a quest")
        await terminal.until("half a quest")
        await terminal.interrupt()
        await terminal.ask("Whole?")
        await terminal.until("Yes.")
        await terminal.until(">>> ")
        await terminal.type(CTRL_D)
        assert await terminal.code() == 0
    assert given(model) == [("user", "Whole?")]


async def test_openais_client_continues_a_session_of_the_chat(
    environment: dict[str, str], model: ScriptedUpstream, fleet: Fleet, gateway: Process
) -> None:
    """With the header; to another key the session is not there."""
    model.add(sse(text("Blue.")), sse(text("Because it is.")), sse(text("So it is.")))
    async with on_terminal(environment) as terminal:
        await terminal.ask("What is the colour of the sky?")
        await terminal.until("Blue.")
        await terminal.ask("/quit")
        assert await terminal.code() == 0
        (session,) = set(re.findall(rf"--session ({_UUID}) continues", terminal.shown))
    asked: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "Why?"}]}
    header = {"x-nself-session-id": session}
    key, other = environment["NSELF_CLAW_API_KEY"], await fleet.key()
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, default_headers=header) as sdk:
        reply = await sdk.chat.completions.create(**asked)
    assert reply.choices[0].message.content == "Because it is."
    said = [("user", "What is the colour of the sky?"), ("assistant", "Blue."), ("user", "Why?")]
    assert given(model) == said
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=other, default_headers=header) as sdk:
        with pytest.raises(openai.NotFoundError):
            await sdk.chat.completions.create(**asked)
    # And back: a later chat of the command line has what the client said.
    assert await in_pipe(environment, "--resume", "Really?") == (0, "So it is.\n", "")
    assert given(model) == [*said, ("assistant", "Because it is."), ("user", "Really?")]
    code, out, err = await in_pipe(environment, "--session", session, "--key", other, "Mine?")
    assert (code, out, "404" in err) == (1, "", True)


async def test_a_single_question_is_answered_alone(environment: dict[str, str], model: ScriptedUpstream) -> None:
    """In a pipe as it was said, and as JSON; it is not stored."""
    wild = "# Über\n\n* <b>1</b>\x1b[31m\u2028\n"
    model.fallback = sse(text(*wild))
    assert await in_pipe(environment, "Hi") == (0, wild, "")
    assert await in_pipe(environment, "-", given="From\na file\n") == (0, wild, "")
    assert given(model) == [("user", "From\na file")]
    assert await in_pipe(environment, given="Piped") == (0, wild, "")
    code, out, _ = await in_pipe(environment, "Hi", "--tier", "local", "--model", "scripted", "--json")
    answer = json.loads(out)
    assert (code, answer["response"], answer["tier_source"], answer["model"], answer["completion_tokens"]) == (
        0, wild, "local", "scripted", len(wild),
    )  # fmt: skip
    assert all(given(model, number)[0][0] == "user" and len(given(model, number)) == 1 for number in range(4))


async def test_what_went_wrong_is_said_in_words(environment: dict[str, str], model: ScriptedUpstream) -> None:
    """An exit code of 1 and a line on stderr; what came of an answer stays."""
    cases: list[tuple[tuple[str, ...], str, str]] = [
        (("--key", "sk-nself-wrong", "Hi"), "", "401"),
        (("--model", "nobody", "Hi"), "", "does not exist"),
        (("--tier", "paid", "Hi"), "", "No model of the paid tier"),
        (("--url", "http://127.0.0.1:9", "Hi"), "", "cannot be reached"),
        (("Hi",), "The first words\n", "broke in the middle"),
    ]
    for arguments, shown, reason in cases:
        if shown:
            model.add(sse(FIRST, Act.ABORT))
        code, out, err = await in_pipe(environment, *arguments)
        assert (code, out) == (1, shown)
        assert reason in err, err
        assert err.count("\n") == 1
    for arguments in (("--resume", "Hi"), ("--resume", "--session", "1"), ("--session", "x", "Hi"), ("",), ("--json",)):
        code, _, err = await in_pipe(environment, *arguments)
        assert (code, bool(err)) == (2, True), arguments


async def test_a_chat_survives_what_goes_wrong(environment: dict[str, str], model: ScriptedUpstream) -> None:
    """A refusal and an unknown command are said, and the next question is answered."""
    model.add(json_answer({"error": {"message": "no"}}, status=400), sse(text("Here.")))
    async with on_terminal(environment) as terminal:
        await terminal.ask("One")
        await terminal.until("The gateway answered 400")
        await terminal.ask("/unknown")
        await terminal.until("There is no command /unknown")
        await terminal.ask("Two")
        await terminal.until("Here.")
        await terminal.ask("/quit")
        assert await terminal.code() == 0


async def test_the_commands_of_a_chat(environment: dict[str, str], model: ScriptedUpstream) -> None:
    """A message of several lines, a title, the list, another session and another model; lines are remembered."""
    model.fallback = sse(text("Noted."))
    async with on_terminal(environment) as terminal:
        await terminal.ask("First line\\")
        await terminal.until("... ")
        await terminal.type("second line\r")
        await terminal.until("Noted.")
        await terminal.ask('"""')
        await terminal.until("... ")
        await terminal.type("a\r")
        await terminal.until("... ")
        await terminal.type('b"""\r')
        await terminal.until("Noted.")
        await terminal.ask("/title My lines")
        await terminal.until("has this title now")
        await terminal.ask("/sessions")
        await terminal.until("My lines")
        await terminal.ask("/model scripted")
        await terminal.until("Model scripted.")
        await terminal.ask("/new")
        await terminal.ask("Fresh")
        await terminal.until("Noted.")
        await terminal.ask("/quit")
        assert await terminal.code() == 0
    assert [content for _, content in given(model, 1)] == ["First line\nsecond line", "Noted.", "a\nb"]
    assert given(model, 2) == [("user", "Fresh")]
    async with on_terminal(environment, "--resume") as terminal:
        await terminal.until(">>> ")
        await terminal.type("\x1b[A\x1b[A\r")
        await terminal.until("Noted.")
        await terminal.ask("/quit")
        assert await terminal.code() == 0
    assert [content for _, content in given(model)] == ["Fresh", "Noted.", "Fresh"]


async def test_markdown_is_drawn_and_cannot_steer_the_terminal(
    environment: dict[str, str], model: ScriptedUpstream
) -> None:
    """Marks become styles; what is no mark stays, also where it looks like HTML; each line is there once."""
    lines = "".join(f"- point {number}\n" for number in range(40))
    said = f"# Title\n\nA **bold** <word>.\n\n{lines}\n\x1b]0;owned\x07```\ncode\n```\n[a](http://b.example)\n"
    model.add(sse(text(*re.findall(r".{1,7}", said, re.DOTALL))))
    async with on_terminal(environment) as terminal:
        await terminal.ask("Draw")
        await terminal.until("(local, scripted")
        await terminal.ask("/quit")
        assert await terminal.code() == 0
        shown, raw = terminal.shown, terminal.raw
    assert "A bold <word>." in shown
    assert "http://b.example" in shown
    assert b"\x1b[1mbold" in raw
    assert b"\x1b]0;" not in raw
    assert "\ufffd]0;owned\ufffd" in shown
