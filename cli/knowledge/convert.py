"""Files of others -> Markdown. Nothing in them is trusted: sizes, pages, time and unpacking are bounded."""

from __future__ import annotations

import io
import signal
import threading
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_FILE_BYTES: Final = 50 * 1024 * 1024
MOST_UNPACKED_BYTES: Final = 100 * 1024 * 1024
MOST_ARCHIVE_FILES: Final = 10_000
MOST_PAGES: Final = 5_000
MOST_TEXT_CHARS: Final = 5_000_000
MOST_S: Final = 60.0


class Unreadable(Exception):
    """A file cannot become text; the message says why."""


def to_markdown(raw: bytes, suffix: str) -> str:
    """Return the text of a file as Markdown, or as it is where it is plain text.

    Args:
        raw: all of it.
        suffix: of its name, which says what it is: one of `CONVERTERS`.

    Raises:
        Unreadable: it is damaged, protected, without text or beyond a bound.
    """
    if len(raw) > MOST_FILE_BYTES:
        raise Unreadable(f"larger than {MOST_FILE_BYTES // 1024**2} MiB")
    try:
        with _bounded_time():
            text = CONVERTERS[suffix](raw)
    except Unreadable:
        raise
    except TimeoutError:
        raise Unreadable(f"not read within {MOST_S:.0f} s") from None
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except MemoryError:
        raise Unreadable("too large") from None
    # The libraries raise whatever a damaged file leads them to.
    except Exception as error:
        raise Unreadable(f"damaged, or not what its name says ({type(error).__name__})") from error
    # PostgreSQL's texts hold neither NUL nor half a character.
    text = text.replace("\x00", " ").encode("utf-8", "replace").decode()
    if len(text) > MOST_TEXT_CHARS:
        raise Unreadable(f"more than {MOST_TEXT_CHARS:,} characters")
    if not text.strip():
        raise Unreadable("no text in it (a scan, perhaps)")
    return text


def _of_text(raw: bytes) -> str:
    try:
        # Some editors begin a file with a mark (U+FEFF): the first heading would be none.
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8") from None


def _of_html(raw: bytes | str) -> str:
    from bs4 import BeautifulSoup  # noqa: PLC0415 -- only where it is needed
    from markdownify import MarkdownConverter  # noqa: PLC0415 -- takes long to import

    page = BeautifulSoup(raw, "html.parser")
    for hidden in page(["script", "style", "noscript", "template", "svg", "head", "iframe", "object"]):
        hidden.decompose()
    # What is escaped in Markdown would be searched with its backslashes.
    converter = MarkdownConverter(
        heading_style="ATX", strip=["img", "a"], escape_asterisks=False, escape_underscores=False, escape_misc=False
    )
    return str(converter.convert_soup(page))


def _of_docx(raw: bytes) -> str:
    import mammoth  # noqa: PLC0415 -- only where it is needed

    _check_archive(raw)
    nothing: Callable[[Any], dict[str, str]] = lambda _: {}  # noqa: E731 -- pictures are no text
    page = mammoth.convert_to_html(io.BytesIO(raw), convert_image=mammoth.images.img_element(nothing)).value
    return _of_html(page)


def _check_archive(raw: bytes) -> None:
    """Check what an archive says it unpacks to; more than it says is never read of a file in it.

    Raises:
        Unreadable: it is none, or too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            files = archive.infolist()
    except zipfile.BadZipFile:
        raise Unreadable("damaged, or no DOCX") from None
    if len(files) > MOST_ARCHIVE_FILES or sum(file.file_size for file in files) > MOST_UNPACKED_BYTES:
        raise Unreadable(f"unpacks to more than {MOST_UNPACKED_BYTES // 1024**2} MiB")


def _of_pdf(raw: bytes) -> str:
    from pypdf import PdfReader  # noqa: PLC0415 -- only where it is needed

    reader = PdfReader(io.BytesIO(raw))
    # Many are encrypted without a password, only to forbid printing.
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("protected by a password")
    if len(reader.pages) > MOST_PAGES:
        raise Unreadable(f"more than {MOST_PAGES} pages")
    found: list[str] = []
    size = 0
    for number, page in enumerate(reader.pages, 1):
        text = page.extract_text().strip()
        size += len(text)
        if size > MOST_TEXT_CHARS:
            raise Unreadable(f"more than {MOST_TEXT_CHARS:,} characters")
        if text:
            # The structure that a PDF has for sure.
            found.append(f"# Page {number}\n\n{_plain(text)}")
    return "\n\n".join(found)


def _plain(text: str) -> str:
    """Return lines of a text such that none is a heading of Markdown."""
    return "\n".join(
        f"\\{line}" if line.lstrip().startswith(("#", "===", "---")) else line for line in text.splitlines()
    )


CONVERTERS: Final[dict[str, Callable[[bytes], str]]] = {
    ".md": _of_text,
    ".markdown": _of_text,
    ".txt": _of_text,
    ".text": _of_text,
    ".html": _of_html,
    ".htm": _of_html,
    ".pdf": _of_pdf,
    ".docx": _of_docx,
}


@contextmanager
def _bounded_time() -> Iterator[None]:
    """Raise TimeoutError in the middle of work that takes too long."""
    if threading.current_thread() is not threading.main_thread():  # signals go to that one alone
        yield
        return

    def stop(_signal: int, _frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, MOST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
