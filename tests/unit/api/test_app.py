"""The table of URLs."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

from api.app import ADMINS_URLS, KEY_URLS, MANAGEMENT_URLS, QUESTION_URLS, READABLE_URLS, URLS, create_app
from api.endpoints.manage.guard import PREFIXES
from api.ui.urls import OPEN_URLS, UI_URLS
from shared.settings import Settings

GUARDED = (*MANAGEMENT_URLS, *READABLE_URLS, *ADMINS_URLS, *QUESTION_URLS)


def test_the_tables_are_all_that_the_app_serves() -> None:
    """Each rule of the app is a row, each row a rule; HEAD comes with GET."""
    app = create_app(Settings(data_dir=Path("nowhere")))
    served = {
        (method, rule.rule, inspect.unwrap(app.view_functions[rule.endpoint]))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }
    assert served == {*URLS, *KEY_URLS, *GUARDED, *UI_URLS, *OPEN_URLS}


def test_without_the_web_ui_nothing_of_it_is_there() -> None:
    """Neither a URL nor a module that only it needs."""
    code = (
        "import sys; from pathlib import Path; from api.app import create_app; from shared.settings import Settings; "
        "app = create_app(Settings(data_dir=Path('nowhere'), ui=False)); "
        "assert not [rule for rule in app.url_map.iter_rules() if rule.rule in {'/', '/ui'}]; "
        "assert not [name for name in sys.modules if name == 'argon2' or name.startswith('api.ui')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_internal_token_guards_the_management_prefixes_and_no_other_url() -> None:
    """So that an unknown URL there fails in the form of its neighbours."""
    assert all(url.startswith(PREFIXES) for _, url, _ in (*GUARDED, *KEY_URLS))
    assert not any(url.startswith(PREFIXES) for _, url, _ in URLS)


def test_whatever_changes_something_is_audited() -> None:
    """Each row of the management API and of the web UI that is no GET."""
    app = create_app(Settings(data_dir=Path("nowhere")))
    plain = {handler for handler in app.view_functions.values() if inspect.unwrap(handler) is handler}
    assert {handler for method, _, handler in MANAGEMENT_URLS + UI_URLS if method == "GET"} <= plain
    changes = {handler for method, _, handler in MANAGEMENT_URLS + UI_URLS if method != "GET"}
    assert {handler.__name__ for handler in changes & plain} == {
        *("set_theme", "sign_out", "not_found"),
        # What the chat asks is in the usage log; a session that it branches has an entry of its own.
        *("stream_answer", "send_question", "answer_again", "edit_question", "stop_answer", "show_markdown"),
    }


def test_what_is_read_without_a_token_changes_nothing() -> None:
    """Each row is a GET."""
    assert {method for method, _, _ in READABLE_URLS} == {"GET"}
