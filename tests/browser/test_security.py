"""What somebody else's page, name or patience can do to the web UI: nothing. Over its whole table of URLs."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from itertools import product
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest

from api.ui import navigation
from api.ui.blueprint import POLICY
from api.ui.sign_in.tries import MOST_TRIES
from api.ui.urls import FOR_ADMIN_KEYS, OPEN_URLS, UI_URLS
from tests.browser.site import PASSWORD, running
from tests.browser.watched import HEAVIEST_BYTES, LARGE, new_watched, weight_of
from tests.fleet import PATIENCE_S
from tests.upstreams.scripted import json_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser

    from tests.browser.conftest import Size
    from tests.browser.site import Site
    from tests.conftest import Eventually

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.debian, pytest.mark.npm]

TOKEN = re.compile(r'name="csrf" value="([^"]+)"')
STYLE = re.compile(r'rel="stylesheet" href="([^"]+)"')
CHANGES = sorted({rule for method, rule, _ in UI_URLS if method == "POST"})
READS = [rule for method, rule, _ in UI_URLS if method == "GET"]
PAGES = [rule for rule in READS if "<" not in rule]

ENDS = ("", '"', "'", "-->", "</title>", "</textarea>", "</script>", "{{1}}")
BODIES = ("<script>xss()</script>", "<xss-tag onclick=xss()>", " onfocus=xss() autofocus ")
BREAKERS = [end + body for end, body in product(ENDS, BODIES)]
"""What would leave a text, an attribute, a comment or a script, if it were not escaped."""


class Markup(HTMLParser):
    """Notes what no template of ours has: a tag, a handler or a script that came out of a name."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at a tag."""
        names = {name for name, _ in attrs}
        if tag.startswith("xss") or any(name.startswith("on") for name in names):
            self.foreign.append(str(self.get_starttag_text()))
        if tag == "script" and "src" not in names:
            self.foreign.append("a script within the page")


def _filled(rule: str) -> str:
    return re.sub(r"<[^>]+>", str(uuid4()), rule)


@asynccontextmanager
async def _client(site: Site, address: str = "127.0.0.1") -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.AsyncHTTPTransport(local_address=address)
    async with httpx.AsyncClient(base_url=site.url, transport=transport, timeout=PATIENCE_S) as client:
        yield client


async def _sign_in(client: httpx.AsyncClient, password: str = PASSWORD) -> httpx.Response:
    page = (await client.get("/ui/sign-in")).text
    (token,) = TOKEN.findall(page)
    return await client.post("/ui/sign-in", data={"csrf": token, "password": password, "next": ""})


async def _token(client: httpx.AsyncClient) -> str:
    return str(TOKEN.findall((await client.get("/ui/keys")).text)[0])


@pytest.mark.parametrize("rule", CHANGES)
async def test_nothing_is_changed_by_a_form_of_another_site(site: Site, rule: str) -> None:
    """Neither without a token nor with that of another session; as a form, with files, or as a script's JSON."""
    async with _client(site) as client, _client(site) as stranger:
        await _sign_in(client)
        await _sign_in(stranger)
        wrong = await _token(stranger)
        for answer in (
            await client.post(_filled(rule), data={"a": "b"}),
            await client.post(_filled(rule), data={"csrf": wrong}),
            await client.post(_filled(rule), data={"csrf": ""}, files={"files": ("a.md", b"text")}),
            await client.post(_filled(rule), json={"a": "b"}, headers={"x-csrf-token": wrong}),
        ):
            assert answer.status_code == 403, answer.text
            assert "wrong_form_token" in answer.text or "load the page again" in answer.text.lower()
        assert (await client.post(_filled(rule), json={"a": "b"})).status_code in {400, 403}


@pytest.mark.parametrize("rule", [rule for _, rule, _ in (*OPEN_URLS, *UI_URLS)][1:])
async def test_no_page_can_be_framed_or_run_what_is_not_ours(site: Site, rule: str) -> None:
    """Nor can what fails; and no other site may read any of it."""
    assert "frame-ancestors 'none'" in POLICY
    assert "unsafe" not in POLICY
    async with _client(site) as client:
        await _sign_in(client)
        headers = {"origin": "https://elsewhere.example"}
        # Of the files a real one, too.
        path = STYLE.findall((await client.get("/ui/keys")).text)[0] if rule.endswith("<path:name>") else _filled(rule)
        async with client.stream("GET", path, headers=headers) as answer:
            assert answer.headers["content-security-policy"] == POLICY
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("rule", READS)
async def test_who_has_not_signed_in_sees_nothing(site: Site, rule: str) -> None:
    """Whatever is asked for leads to the form, or is refused to a script."""
    async with _client(site) as client:
        page = await client.get(_filled(rule))
        assert (page.status_code, page.headers["location"].partition("?")[0]) == (303, "/ui/sign-in")
        assert (await client.get(_filled(rule), headers={"accept": "application/json"})).status_code == 401


async def test_names_are_text_wherever_they_are_shown(site: Site) -> None:
    """Of keys, models, chunks, notes, documents, sessions, clients and errors, whatever they would break out of."""
    paths = [path for path in PAGES if path not in {"/ui", "/ui/"}] + ["/ui/knowledge/chunks?category=xss"]
    digest = hashlib.sha256(b"xss").hexdigest()
    for number, breaker in enumerate(BREAKERS):
        name = f"{breaker} {number}"
        key_id, secret = await site.key(name, allowed_models=[name, "scripted", "auto"])
        session = str(uuid4())
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {secret}"}, timeout=PATIENCE_S) as client:
            body = {"model": "auto", "messages": [{"role": "user", "content": name}]}
            url = f"{site.url}/v1/chat/completions"
            named = {"x-nself-session-id": session, "user-agent": name.strip(), "x-client-request-id": name.strip()}
            answered = await client.post(url, json=body, headers=named)
            assert answered.status_code == 200
            site.upstream.add(json_answer({"error": {"message": name, "type": name, "code": name}}, status=400))
            failed = await client.post(url, json=body, headers={"x-nself-tier": "local"})
            assert failed.status_code == 400
            await client.post(url, json={**body, "model": name})
        await site.logged(answered.headers["x-request-id"], failed.headers["x-request-id"])
        await site.manage("PATCH", f"/claw/sessions/{session}", title=name)
        paths += [f"/ui/keys/{key_id}", f"/ui/keys/{key_id}/edit", f"/ui/usage/{answered.headers['x-request-id']}"]
        paths.append(f"/ui/usage/{failed.headers['x-request-id']}")
        document = {
            "name": f"{name}.md",
            "hash": digest,
            "category": "xss-named",
            "chunks": [{"title": name, "content": name}],
        }
        await site.manage("POST", "/claw/knowledge/documents", **document)
    chunks = [{"title": breaker, "content": f"{breaker} findable"} for breaker in BREAKERS]
    await site.manage("POST", "/claw/knowledge/documents", name=BREAKERS[4], hash=digest, category="xss", chunks=chunks)
    stored = (await site.manage("GET", "/claw/knowledge/search?category=xss"))["chunks"]
    assert len(stored) == len(BREAKERS)
    for chunk in stored:
        await site.manage("POST", "/claw/knowledge/notes", chunk_id=chunk["id"], note=chunk["title"])
        paths.append(f"/ui/knowledge/chunks/{chunk['id']}")
    paths += [f"/ui/{page}?q={breaker}&model={breaker}" for page in ("knowledge", "usage") for breaker in BREAKERS[:6]]
    async with _client(site) as client:
        await _sign_in(client)
        shown = ""
        for path in paths:
            text = await _html(client, path)
            found = Markup()
            found.feed(text)
            assert (path, found.foreign) == (path, [])
            shown += text
    assert shown.count("&lt;xss-tag onclick=xss()&gt;") > 3 * len(ENDS)


async def test_a_session_that_was_planted_opens_nothing(site: Site) -> None:
    """Who signs in gets another one; the one before, known to somebody else, stays one of nobody."""
    async with _client(site) as victim, _client(site) as attacker:
        await attacker.get("/ui/sign-in")
        ((name, planted),) = attacker.cookies.items()
        victim.headers["cookie"] = f"{name}={planted}"
        answer = await _sign_in(victim)
        assert (answer.status_code, answer.request.headers["cookie"]) == (303, f"{name}={planted}")
        assert _session_id(answer.cookies[name]) != _session_id(planted)
        assert (await attacker.get("/ui/keys")).status_code == 303


def _session_id(cookie: str) -> str:
    payload = cookie.partition(".")[0]
    (found,) = re.findall(r"[0-9a-f]{32}", base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode())
    return str(found)


async def test_the_cookie_is_the_servers_alone(site: Site) -> None:
    """No script reads it, no form of another site brings it along, no path but the UI's gets it, nobody changes it."""
    async with _client(site) as client:
        kept = (await _sign_in(client)).headers["set-cookie"]
        name, _, rest = kept.partition("=")
        value, *attributes = rest.split("; ")
        assert {"HttpOnly", "SameSite=Lax", "Path=/ui"} <= {*attributes}
        assert "Secure" not in attributes  # it came by http
        assert not any(attribute.startswith("Domain") for attribute in attributes)
        assert (await client.get("/ui/keys")).status_code == 200
        assert client.cookies[name] == value
        payload, _, signature = value.partition(".")
        another = f"{payload[:-1]}{'A' if payload[-1] != 'A' else 'B'}.{signature}"
        for changed in (another, payload, f"{payload}.", value[:-1]):
            async with _client(site) as forger:
                forger.headers["cookie"] = f"{name}={changed}"
                assert (await forger.get("/ui/keys")).status_code == 303


@asynccontextmanager
async def _another_site(page: str) -> AsyncIterator[str]:
    """Yield a server of somebody else, with a page; its URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {len(page)}\r\nconnection: close\r\n\r\n"
        writer.write((head + page).encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}/"


async def test_a_page_of_another_site_shows_nothing_in_a_frame(browser: Browser, site: Site, size: Size) -> None:
    """Not even to who has signed in: the browser refuses it."""
    context = await browser.new_context(viewport={"width": size[0], "height": size[1]})
    page = await context.new_page()
    await page.goto(f"{site.url}/ui/sign-in")
    await page.get_by_label("Password, or an admin key").fill(PASSWORD)
    async with page.expect_navigation():
        await page.get_by_role("button", name="Sign in").click()
    framed = "".join(f'<iframe src="{site.url}{path}"></iframe>' for path in ("/ui/keys", "/health"))
    async with _another_site(f"<!doctype html><title>You have won</title>{framed}") as elsewhere:
        await page.goto(elsewhere)  # until its frames have loaded, too
    # What has no policy, as it has no button, is shown: frames as such work here.
    assert [frame.url for frame in page.frames[1:]] == ["chrome-error://chromewebdata/", f"{site.url}/health"]
    await context.close()


async def test_passwords_cannot_be_guessed_at_will(site: Site) -> None:
    """After some tries the address is refused, also with the right one; other addresses are not."""
    async with _client(site, "127.0.0.9") as guesser, _client(site, "127.0.0.10") as other:
        for number in range(MOST_TRIES):
            assert (await _sign_in(guesser, f"guess {number}")).status_code in {400, 401}
        refused = await _sign_in(guesser)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
        assert (await _sign_in(other)).status_code == 303


async def test_a_right_key_makes_no_room_for_further_guesses(site: Site) -> None:
    """Nor does it count as one, so that it opens the UI where others guess."""
    _, secret = await site.key("guesses beside", admin_allowed=True)
    async with _client(site, "127.0.0.11") as guesser:
        for number in range(MOST_TRIES):
            assert (await _sign_in(guesser, f"guess {number}")).status_code in {400, 401}
        for _ in range(2):
            async with _client(site, "127.0.0.11") as holder:
                assert (await _sign_in(holder, secret)).status_code == 303
        assert (await _sign_in(guesser)).status_code == 429


@pytest.mark.parametrize("rule", CHANGES)
async def test_an_admin_key_changes_here_what_it_changes_by_the_api(site: Site, rule: str) -> None:
    """Keys and chats; for all else the form that is right wants the password."""
    _, secret = await site.key("signs in", admin_allowed=True)
    async with _client(site) as client:
        await _sign_in(client, secret)
        data = {"csrf": await _token(client), "name": "made with a key", "rpm_limit": "1", "theme": "dark"}
        answer = await client.post(_filled(rule), data=data)
    is_its_own = any(handler in FOR_ADMIN_KEYS for _, each, handler in UI_URLS if each == rule)
    assert (answer.status_code == 403 and "sign in with the password" in answer.text) == (not is_its_own)


def test_pages_know_whether_an_admin_key_changes_anything_on_them() -> None:
    """What would be refused there is not offered."""
    wanting = {
        rule.split("/")[2]
        for method, rule, handler in UI_URLS
        if method == "POST"
        and handler not in FOR_ADMIN_KEYS
        and rule.split("/")[2] in {page.name for page in navigation.PAGES}
    }
    assert wanting == {page.name for page in navigation.PAGES if page.wants_password}


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "DELETE"])
async def test_a_method_that_no_page_has_is_answered_like_a_page(site: Site, method: str) -> None:
    """With the headers of all that is under its path."""
    async with _client(site) as client:
        await _sign_in(client)
        for path in ("/ui/overview", "/ui/nowhere", "/ui"):
            answer = await client.request(method, path)
            assert answer.status_code >= 400
            assert answer.headers["content-security-policy"] == POLICY


async def test_pages_are_light(
    browser: Browser, tmp_path: Path, database_url: str, eventually: Eventually, shots: Path
) -> None:
    """With all their files, before any compression; of a gateway that nobody has filled yet."""
    async with running(tmp_path, database_url, eventually) as site, _client(site) as client:
        await _sign_in(client)
        pages = [rule for rule in PAGES if "<!doctype" in await _html(client, rule)]
        assert len(pages) > 10
        watched = await new_watched(browser, site, shots, LARGE)
        await watched.sign_in(path="/ui/keys")
        for rule in pages:
            await watched.open(rule)
            weight = await weight_of(watched.page)
            assert weight < HEAVIEST_BYTES, (rule, weight)
        assert watched.problems == []
        await watched.page.context.close()


async def _html(client: httpx.AsyncClient, path: str) -> str:
    """Return what is at a path, if it is HTML; streams are not read."""
    async with client.stream("GET", path) as answer:
        assert answer.status_code in {200, 303}, (path, answer.status_code)
        is_html = answer.headers.get("content-type", "").startswith("text/html")
        return (await answer.aread()).decode() if is_html else ""
