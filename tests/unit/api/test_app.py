"""The table of URLs."""

from __future__ import annotations

import inspect
from pathlib import Path

from api.app import ADMINS_URLS, KEY_URLS, MANAGEMENT_URLS, QUESTION_URLS, READABLE_URLS, URLS, create_app
from api.endpoints.manage.guard import PREFIXES
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
    assert served == {*URLS, *KEY_URLS, *GUARDED}


def test_the_internal_token_guards_the_management_prefixes_and_no_other_url() -> None:
    """So that an unknown URL there fails in the form of its neighbours."""
    assert all(url.startswith(PREFIXES) for _, url, _ in (*GUARDED, *KEY_URLS))
    assert not any(url.startswith(PREFIXES) for _, url, _ in URLS)


def test_whatever_changes_something_is_audited() -> None:
    """Each row of the management API that is no GET."""
    app = create_app(Settings(data_dir=Path("nowhere")))
    plain = {handler for handler in app.view_functions.values() if inspect.unwrap(handler) is handler}
    assert {handler for method, _, handler in MANAGEMENT_URLS if method == "GET"} <= plain
    assert not {handler for method, _, handler in MANAGEMENT_URLS if method != "GET"} & plain


def test_what_is_read_without_a_token_changes_nothing() -> None:
    """Each row is a GET."""
    assert {method for method, _, _ in READABLE_URLS} == {"GET"}
