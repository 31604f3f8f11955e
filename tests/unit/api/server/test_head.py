"""Heads and bodies of requests, against h11: what it refuses we refuse, and what both take they read alike."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from api.server.chunks import ChunkDecoder
from api.server.head import CHUNKED, HEAD_BYTES, HTTP2_PREFACE, RequestRefused, head_end, read_head
from api.server.turns import Turns

ORDINARY = b"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer x\r\n"
EXAMPLES = 15 * settings().max_examples


class Seen(NamedTuple):
    """A request as one of the two reads it. `rest` is None while its body goes on."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    rest: bytes | None


def ours(data: bytes) -> Seen | str:
    """Return the request that stands first in `data`, or `refused`, `incomplete`, `another protocol`."""
    try:
        end = head_end(data)
        if not end:
            return "incomplete"
        head = read_head(data[:end])
        if head is None:
            return "another protocol"
        body, rest = data[end:], None
        if head.length == CHUNKED:
            decoder = ChunkDecoder(Turns())
            body, rest = decoder.decode(body), decoder.rest
        elif len(body) >= head.length:
            body, rest = body[: head.length], body[head.length :]
    except RequestRefused:
        return "refused"
    # As h11 hands it on; nobody behind the server reads this field.
    headers = [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in head.headers]
    return Seen(head.method, head.target, headers, body, rest)


def of_h11(data: bytes) -> Seen | str:
    """Return the same as h11 has it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
    connection.receive_data(data)
    request, body, rest = None, b"", None
    try:
        while (event := connection.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                rest = connection.trailing_data[0]
                break
    except h11.RemoteProtocolError:
        return "refused"
    if request is None:
        return "incomplete"
    headers = [(name, value) for name, value in request.headers]
    return Seen(request.method.decode().upper(), request.target, headers, body, rest)


_NAMES = st.sampled_from([
    b"Host", b"content-length", b"Content-Length", b"Transfer-Encoding", b"transfer-encoding", b"Expect", b"Connection",
    b"Upgrade", b"X-A", b"", b"a b", b"a\x00", b"\xe9", b"Content-Length ", b" Content-Length", b"Content_Length",
])  # fmt: skip
_VALUES = st.sampled_from([
    b"gateway", b"", b"0", b"3", b"5", b"+5", b"-1", b"5, 5", b"5, 6", b"0x5", b"5 ", b"1" * 19, b"1" * 30, b"chunked",
    b"Chunked", b"gzip, chunked", b"chunked, gzip", b"xchunked", b"\x0bchunked", b"identity", b"100-continue", b"close",
    b"keep-alive", b"websocket", b"h2c", b"a\tb", b"a\x00b", b"a\x01b", b"a\x0bb", b"\xff\xfe", b"a\rb", b"a\nb: c",
])  # fmt: skip
_ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b"\r\n ", b"\r\n\t", b"\n\r\n"])
_COLONS = st.sampled_from([b": "] * 8 + [b":", b" : ", b":\t", b"", b"  "])
_FIELDS = st.tuples(_NAMES, _COLONS, _VALUES, _ENDS).map(b"".join)
_METHODS = st.sampled_from([b"POST"] * 6 + [b"GET", b"HEAD", b"post", b"CONNECT", b"OPTIONS", b"P(ST", b"", b"PRI"])
_TARGETS = st.sampled_from([b"/v1"] * 6 + [b"*", b"http://a/v1", b"a:80", b"/a b", b"/\xff", b"/%00", b"", b"/a\tb"])
_VERSIONS = st.sampled_from([b"HTTP/1.1"] * 9 + [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b""])
_SPACES = st.sampled_from([b" "] * 9 + [b"  ", b"\t", b"\x0b"])
_LINES = st.tuples(_METHODS, _SPACES, _TARGETS, _SPACES, _VERSIONS, _ENDS).map(b"".join)
_BODIES = st.sampled_from([
    b"", b"abc", b"abcde", b"5\r\nabcde\r\n0\r\n\r\n", b"5;a=b\r\nabcde\r\n0\r\n\r\n", b"5\r\nabcdef\r\n0\r\n\r\n",
    b"5\nabcde\r\n0\r\n\r\n", b"5\r\nabcde\n0\r\n\r\n", b" 5\r\nabcde\r\n0\r\n\r\n", b"0x5\r\nabcde\r\n0\r\n\r\n",
    b"-5\r\nabcde\r\n0\r\n\r\n", b"0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\n", b"0\r\nA : b\r\n\r\n", b"0\r\n\n", b"0\r\n",
    b"fffffffffffffffff\r\n", b"5\r\nab", b"\r\nabcde", b"0;" + b"x" * 300 + b"\r\n\r\n", b"0\r\nA: b\n\n",
])  # fmt: skip
_MADE = st.tuples(
    _LINES,
    st.sampled_from([b"Host: a\r\n"] * 9 + [b""]),
    st.lists(_FIELDS, max_size=4).map(b"".join),
    st.sampled_from([b"\r\n"] * 9 + [b"\n", b""]),
    _BODIES,
).map(b"".join)


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """Draw a request of which a few bytes were taken, put in or replaced."""
    data = bytearray(draw(_MADE))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(st.sampled_from(
            [b"", b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b";", b",", b"\x00", b"\x0b", b"\x7f", b"\x85", b"0", b"G"]
        ))  # fmt: skip
    return bytes(data)


@settings(max_examples=EXAMPLES)
@given(_mutated())
@example(ORDINARY + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n")
@example(ORDINARY + b"Content-Length: 3\r\n\r\nabcGET /x HTTP/1.1\r\n\r\n")
@example(ORDINARY + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\n")
@example(ORDINARY + b"Transfer-Encoding: Chunked\r\n\r\n")
def test_what_is_taken_h11_reads_alike(data: bytes) -> None:
    """The same method, target, headers and body, and the next request begins at the same byte."""
    taken = ours(data)
    if isinstance(taken, Seen):
        assert taken == of_h11(data)


@settings(max_examples=EXAMPLES)
@given(_mutated())
def test_nothing_waits_for_more_that_h11_has_refused(data: bytes) -> None:
    """A client gets to know at once."""
    if ours(data) == "incomplete":
        assert of_h11(data) == "incomplete"


_TOKEN = st.text("abcXYZ019-_.!", min_size=1, max_size=8).map(str.encode)
_TEXT = st.text('abc :,;=\t/"\xe9', max_size=12).map(lambda text: text.encode("latin1").strip(b" \t"))


@given(
    st.lists(st.tuples(_TOKEN.map(lambda name: b"x-" + name), _TEXT), max_size=20),
    st.binary(max_size=40),
    st.booleans(),
    st.binary(max_size=5),
)
def test_every_well_formed_request_is_taken(
    fields: list[tuple[bytes, bytes]],
    body: bytes,
    is_chunked: bool,  # noqa: FBT001 -- a case
    behind: bytes,
) -> None:
    """With any fields and any body, whatever comes behind it."""
    if is_chunked:
        framing = b"transfer-encoding: chunked"
        sent = b"".join(b"%x\r\n%b\r\n" % (1, body[at : at + 1]) for at in range(len(body))) + b"0\r\n\r\n"
    else:
        framing, sent = b"content-length: %d" % len(body), body
    head = ORDINARY + b"".join(b"%b: %b\r\n" % field for field in fields) + framing + b"\r\n\r\n"
    taken = ours(head + sent + behind)
    assert isinstance(taken, Seen)
    assert (taken.body, taken.rest) == (body, behind)
    assert taken == of_h11(head + sent + behind)


LENIENT = {
    "a bare line feed": ORDINARY[:-2] + b"\n\r\n",
    "only bare line feeds": b"GET / HTTP/1.1\nhost: a\n\n",
    "a folded line": ORDINARY + b"X-A: b\r\n c\r\n\r\n",
    "a length twice": ORDINARY + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "two equal lengths in one": ORDINARY + b"Content-Length: 0, 0\r\n\r\n",
    "a length and a coding": ORDINARY + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a control character": ORDINARY + b"X-A: a\x01b\r\n\r\n",
    "a target with a host": ORDINARY.replace(b" /", b" http://a/") + b"\r\n",
    "a target without a path": ORDINARY.replace(b"/v1/chat/completions?a=b", b"*") + b"\r\n",
    "a version that does not exist": ORDINARY.replace(b"1.1", b"3.7") + b"\r\n",
    "white space behind a size": ORDINARY + b"Transfer-Encoding: chunked\r\n\r\n0 \r\n\r\n",
    "a long extension": ORDINARY + b"Transfer-Encoding: chunked\r\n\r\n0;" + b"x" * 300 + b"\r\n\r\n",
    "a bare line feed in a trailer": ORDINARY + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n\r\n",
}
"""What h11 takes and we refuse: each a way to have a proxy and a server read different requests, or of no use."""
REFUSED = {
    "a space before the colon": ORDINARY + b"Content-Length : 5\r\n\r\nabcde",
    "two lengths": ORDINARY + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "a signed length": ORDINARY + b"Content-Length: +5\r\n\r\n",
    "a length without digits": ORDINARY + b"Content-Length:\r\n\r\n",
    "a coding besides chunked": ORDINARY + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "chunked not last": ORDINARY + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
    "two codings": ORDINARY + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a bare carriage return": ORDINARY + b"X-A: b\rc\r\n\r\n",
    "a NUL": ORDINARY + b"X-A: a\x00b\r\n\r\n",
    "a name with a space": ORDINARY + b"X A: b\r\n\r\n",
    "an empty name": ORDINARY + b": b\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": ORDINARY + b"Host: b\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "an empty line first": b"\r\n" + ORDINARY + b"\r\n",
    "a folded first line": b"GET / HTTP/1.1\r\n host: a\r\n\r\n",
    "a head that is too long": ORDINARY + b"X-A: " + b"a" * HEAD_BYTES,
    "TLS": b"\x16\x03\x01\x02\x00\x01",
    "a size with a sign": ORDINARY + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n",
    "a chunk that is too long": ORDINARY + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcdef\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", LENIENT.values(), ids=LENIENT)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes) -> None:
    """Where h11 is lenient we are not."""
    assert ours(data) == "refused"
    assert isinstance(of_h11(data), Seen)


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_is_malformed_is_refused(data: bytes) -> None:
    """By both."""
    assert (ours(data), of_h11(data)) == ("refused", "refused")


@pytest.mark.parametrize(
    "data",
    [
        ORDINARY.replace(b"1.1", b"1.0") + b"\r\n",
        HTTP2_PREFACE,
        ORDINARY + b"Upgrade: h2c\r\n\r\n",
    ],
)
def test_another_protocol_is_left_to_hypercorn(data: bytes) -> None:
    """It serves it, and the connection to its end."""
    assert ours(data) == "another protocol"


@pytest.mark.parametrize("upgrade", [b"h2c\r\nContent-Length: 0", b"TLS/1.0", b"h2c, websocket", b"websocket"])
def test_other_upgrades_are_ordinary_requests(upgrade: bytes) -> None:
    """As Hypercorn has it: with a body, of another kind, or without `connection: upgrade`."""
    assert isinstance(ours(ORDINARY + b"Upgrade: " + upgrade + b"\r\n\r\n"), Seen)


@given(st.data(), st.binary(min_size=1, max_size=60), st.binary(max_size=9))
def test_chunks_may_be_cut_anywhere(data: st.DataObject, body: bytes, behind: bytes) -> None:
    """The content is the same, and what stands behind it is left."""
    at = data.draw(st.integers(0, len(body)))
    parts = [part for part in (body[:at], body[at:]) if part]
    sent = b"".join(b"%X;a=b\r\n%b\r\n" % (len(part), part) for part in parts) + b"000\r\nA: b\r\n\r\n" + behind
    cuts = sorted(data.draw(st.sets(st.integers(0, len(sent)))) | {0, len(sent)})
    decoder, content, rest = ChunkDecoder(Turns()), b"", b""
    for start, end in itertools.pairwise(cuts):
        if decoder.rest is not None:
            rest += sent[start:end]
        else:
            content += decoder.decode(sent[start:end])
    assert (content, (decoder.rest or b"") + rest) == (body, behind)
