"""`nself claw ui`."""

from __future__ import annotations

import re

from click.testing import CliRunner

from cli.main import main
from cli.web_ui.password import new_password


def test_a_password_that_is_made_can_be_read_out() -> None:
    """Groups of letters and digits that look like no others; never the same twice."""
    made = {new_password() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"([a-hjkmnp-z2-9]{5}-){3}[a-hjkmnp-z2-9]{5}", each) for each in made)


def test_a_password_does_not_stand_in_the_command_line() -> None:
    """Others could read it in the list of processes."""
    done = CliRunner().invoke(main, ["claw", "ui", "password", "--password", "secret words"])
    assert done.exit_code == 2
    assert "can be read by others" in done.output
