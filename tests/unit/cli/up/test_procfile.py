"""Reading the Procfile."""

import sys
from pathlib import Path

import pytest

from cli.up.procfile import ProcfileError, read_procfile
from shared.settings import PROJECT_ROOT


def test_commands_are_read_in_order_and_python_is_the_running_one(tmp_path: Path) -> None:
    """Comments and blank lines are passed over; quotes are a shell's."""
    file = tmp_path / "Procfile"
    file.write_text("# first\n\nweb: python -m api\nworker-local:  other 'a b' c\n")

    assert read_procfile(file) == {
        "web": (sys.executable, "-m", "api"),
        "worker-local": ("other", "a b", "c"),
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "names no process"),
        ("web python", "line 1: expected `name: command`"),
        ("web:", "line 1: expected `name: command`"),
        ("web: a\nweb: b", "line 2: web is there twice"),
        ("web: 'a", "line 1: No closing quotation"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    """A Procfile that cannot be used says where."""
    file = tmp_path / "Procfile"
    file.write_text(text)

    with pytest.raises(ProcfileError, match=complaint):
        read_procfile(file)


def test_a_missing_procfile_is_an_error_of_its_own(tmp_path: Path) -> None:
    """The path is in the text."""
    with pytest.raises(ProcfileError, match="nowhere"):
        read_procfile(tmp_path / "nowhere")


def test_the_gateways_own_procfile_names_its_processes() -> None:
    """The supervisor stops `web` first and `recorder` last by these names."""
    assert list(read_procfile(PROJECT_ROOT / "Procfile")) == [
        "web",
        "worker-local",
        "worker-gemini",
        "worker-paid",
        "recorder",
    ]
