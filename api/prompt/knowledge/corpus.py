"""The built-in corpus: nSelf's in `knowledge/`, and its own documentation."""

from __future__ import annotations

import hashlib
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Final

import msgspec

from api.prompt.knowledge.chunking import chunked, piece_ids, slug
from shared.postgres.knowledge.store import Chunk
from shared.settings import PROJECT_ROOT

GATEWAY: Final = "gateway"
_Slug = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=200)]


class CorpusVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of `knowledge/version.toml`."""

    version: str = "0"
    schema_version: int | str = 1
    description: str = ""


class _Chunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: _Slug
    title: str
    content: str
    source: str
    keywords: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    category: str
    chunk: tuple[_Chunk, ...]


class Corpus(msgspec.Struct, frozen=True):
    """All that the gateway brings itself; `digest` tells it from what another version brings."""

    version: CorpusVersion
    chunks: tuple[Chunk, ...]
    digest: str


@cache
def corpus(root: Path = PROJECT_ROOT) -> Corpus:
    """Read the corpus and the documentation; once, since they are part of the program.

    Raises:
        ValueError: a file is not what it must be, or two chunks have one id.
    """
    chunks = (*_of_nself(root / "knowledge" / "nself"), *_of_gateway(root))
    ids = [chunk.id for chunk in chunks]
    if doubled := {each for each in ids if ids.count(each) > 1}:
        raise ValueError(f"two chunks of the corpus have one id: {', '.join(sorted(doubled))}")
    return Corpus(_version(root), chunks, hashlib.sha256(msgspec.json.encode(chunks)).hexdigest())


def _version(root: Path) -> CorpusVersion:
    path = root / "knowledge" / "version.toml"
    return msgspec.convert(tomllib.loads(path.read_text()), CorpusVersion) if path.exists() else CorpusVersion()


def _of_nself(folder: Path) -> list[Chunk]:
    found = []
    for path in sorted(folder.glob("*.toml")):
        try:
            file = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
        except (ValueError, msgspec.ValidationError) as error:
            raise ValueError(f"{path.name}: {error}") from error
        found += [
            Chunk(category=file.category, **{name: getattr(chunk, name) for name in _Chunk.__struct_fields__})
            for chunk in file.chunk
        ]
    return found


def _of_gateway(root: Path) -> list[Chunk]:
    found = []
    # A wheel has no documentation: then there is none to search.
    for path in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        if not path.exists():
            continue
        pieces = chunked(path.read_text(encoding="utf-8"), f"ɳClaw gateway: {path.stem}")
        found += [
            Chunk(
                id=chunk_id,
                category=GATEWAY,
                title=piece.title,
                content=piece.content,
                tags=(GATEWAY, slug(path.stem)),
                source=path.relative_to(root).as_posix(),
            )
            for chunk_id, piece in zip(piece_ids(f"{GATEWAY}-{slug(path.stem)}", pieces), pieces, strict=True)
        ]
    return found
