"""`nself claw knowledge eval`: how well the base finds the right chunks for questions whose chunks are known."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.progress import track

from cli.api_client import call
from cli.knowledge.metrics import AMONG, Mean, mean_of, recall, reciprocal_rank
from cli.options import as_json
from cli.tables import print_json, print_table
from shared.settings import PROJECT_ROOT

RANKINGS_PATH: Final = "/claw/knowledge/rankings"
QUESTIONS: Final = PROJECT_ROOT / "knowledge" / "questions.toml"
KINDS: Final = ("text", "vectors", "fused")
TRIES: Final = 3
"""A question whose vector is not there in time is asked again: what is measured is how good it is, not how fast."""


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question, the chunks that answer it, and whether it was kept from whoever tunes the search."""

    text: str
    chunks: tuple[str, ...]
    language: str
    held_out: bool


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    question: tuple[Question, ...]


@click.command("eval")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--held-out", is_flag=True, help="The questions that nobody tunes on, not the others.")
@as_json
def evaluate(*, file: Path | None, held_out: bool, as_json: bool) -> None:
    """Measure the search by words, by vectors, and by both.

    recall@5 is which part of the right chunks is among the first five, MRR the mean of 1 divided by the place of the
    first right one; in brackets the interval in which 95 of 100 such samples would lie.
    """
    questions = [each for each in _read(file or QUESTIONS) if each.held_out == held_out]
    if not questions:
        raise click.ClickException("There are no such questions in the file.")
    shown = track(questions, "Asking", console=Console(stderr=True), transient=True, disable=as_json)
    answers = [(question, _rankings(question.text)) for question in shown]
    without = sum(answer["vectors"] is None for _, answer in answers)
    measured = {
        "all": _measured(answers),
        "English": _measured([each for each in answers if each[0].language == "en"]),
        "others": _measured([each for each in answers if each[0].language != "en"]),
    }
    if as_json:
        print_json({"questions": len(questions), "held_out": held_out, "without_vector": without, "measured": measured})
        return
    rows = [
        (name, kind, of_kind["questions"], _shown(of_kind["recall"]), _shown(of_kind["mrr"]))
        for name, kinds in measured.items()
        for kind, of_kind in kinds.items()
    ]
    print_table(("Questions", "Search", "Number", f"recall@{AMONG}", "MRR"), rows)
    if without:
        click.echo(f"{without} of {len(answers)} questions had no vector: words alone rank them.", err=True)


def _read(file: Path) -> tuple[Question, ...]:
    try:
        return msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), _File).question
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise click.ClickException(f"{file}: {error}") from None


def _rankings(text: str) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    for _ in range(TRIES):
        answer = call("GET", RANKINGS_PATH, query={"q": text})
        if answer["vectors"] is not None:
            break
    return answer


def _measured(answers: list[tuple[Question, dict[str, Any]]]) -> dict[str, Any]:
    """Return the figures of each kind of search that there is."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        rankings = [(answer[kind], question.chunks) for question, answer in answers if answer[kind] is not None]
        if rankings:
            found[kind] = {
                "questions": len(rankings),
                "recall": mean_of([recall(*each) for each in rankings]),
                "mrr": mean_of([reciprocal_rank(*each) for each in rankings]),
            }
    return found


def _shown(mean: Mean) -> str:
    return f"{mean.value:.2f} [{mean.low:.2f}, {mean.high:.2f}]"
