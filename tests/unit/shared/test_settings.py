"""Reading the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.setting_values import SettingsError
from shared.settings import (
    VARIABLES,
    GeminiKey,
    Settings,
    environment_for,
    load_credentials,
    load_settings,
    require,
    unknown_variables,
)

if TYPE_CHECKING:
    from pathlib import Path


def load(**environment: str) -> Settings:
    """Settings of an environment without data dir."""
    return load_settings({"CLAW_DATA_DIR": "/nowhere", **environment})


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("gpu-box", "http://gpu-box:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),  # noqa: S104 -- read, not bound
        ("10.0.0.5:8080", "http://10.0.0.5:8080"),
        ("http://gpu-box", "http://gpu-box:80"),
        ("https://ollama.example/prefix/", "https://ollama.example:443/prefix"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(given: str, url: str) -> None:
    """Host, host and port, or URL."""
    assert load(OLLAMA_HOST=given).ollama_url == url


def test_the_first_of_two_names_wins() -> None:
    """PLUGIN_OLLAMA_URL is ours, OLLAMA_HOST Ollama's."""
    assert load(PLUGIN_OLLAMA_URL="http://a:1", OLLAMA_HOST="b").ollama_url == "http://a:1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLAW_PORT", "http"),
        ("CLAW_PORT", "70000"),
        ("CLAW_HEARTBEAT_S", "0"),
        ("CLAW_MAX_WAITING_JOBS", "-1"),
        ("DATABASE_URL", "mysql://x"),
        ("CLAW_LOCAL_OPENAI_URL", "localhost:8080"),
        ("CLAW_LOG_LEVEL", "LOUD"),
        ("CLAW_HTTP", "h12"),
        ("CLAW_UPSTREAM_HTTP", "httpx"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str) -> None:
    """The text says which variable it is."""
    with pytest.raises(SettingsError, match=name):
        load(**{name: value})


def test_an_empty_variable_is_an_unset_one() -> None:
    """As compose files leave them."""
    assert load(CLAW_PORT="", OLLAMA_HOST=" ").port == 3713


def test_every_setting_has_its_variable() -> None:
    """But for the data dir and traces, which have rules of their own."""
    assert set(VARIABLES) == set(Settings.__struct_fields__) - {"data_dir", "tracing"}


def test_what_is_required_is_named_by_its_variable() -> None:
    """For a process that is started by hand."""
    with pytest.raises(SettingsError, match="REDIS_URL"):
        require(load(), "redis_url")


def test_secrets_come_from_the_data_dir_unless_they_are_set(tmp_path: Path) -> None:
    """The environment wins."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "internal_secret").write_text("from the file\n")
    assert load_settings({"CLAW_DATA_DIR": str(tmp_path)}).internal_secret == "from the file"
    named = load_settings({"CLAW_DATA_DIR": str(tmp_path), "PLUGIN_INTERNAL_SECRET": "named"})
    assert named.internal_secret == "named"


@pytest.mark.parametrize(
    "given", ["https://api.example.com", "https://api.example.com/v1", "https://api.example.com/v1/"]
)
def test_the_public_url_ends_in_v1_once(given: str) -> None:
    """However it was written."""
    assert load(CLAW_BASE_URL=given).public_url == "https://api.example.com/v1"


def test_each_tier_gets_its_own_credentials_and_nobody_else_any() -> None:
    """A process that cannot leak a credential does not have it."""
    of_paid = {"OPENAI_API_KEY": "a", "ANTHROPIC_API_KEY": "b"}
    of_gemini = {
        "GEMINI_API_KEY": "c",
        "GEMINI_API_KEY_PROJECT": "p",
        "GEMINI_FREE_KEY_20": "d",
        "GEMINI_FREE_KEY_20_PROJECT": "q",
        "CLAW_ENCRYPTION_KEY": "e",
    }
    everything = {"PATH": "/bin", **of_paid, **of_gemini}
    for other in (None, "web", "local", "recorder"):
        assert environment_for(other, everything) == {"PATH": "/bin"}
    assert environment_for("paid", everything) == {"PATH": "/bin", **of_paid}
    assert environment_for("gemini", everything) == {"PATH": "/bin", **of_gemini}


def test_every_gemini_key_is_an_account_and_each_key_one() -> None:
    """Named by its variable; a project may be named beside it; a key that stands in two places counts once."""
    environment = {
        "GEMINI_FREE_KEY_3": "three",
        "GEMINI_API_KEY": " first ",
        "GEMINI_FREE_KEY_12": "twelve",
        "GEMINI_FREE_KEY_12_PROJECT": "shared",
        "GEMINI_FREE_KEY_13": "three",
        "GEMINI_FREE_KEY_14": " ",
        "GEMINI_FREE_KEY_21": "not one of ours",
    }
    assert load_credentials("gemini", environment).gemini_accounts == (
        GeminiKey("GEMINI_API_KEY", "first"),
        GeminiKey("GEMINI_FREE_KEY_3", "three"),
        GeminiKey("GEMINI_FREE_KEY_12", "twelve", "shared"),
    )


def test_a_key_does_not_show_where_it_is_printed() -> None:
    """A log line with the credentials would."""
    assert "secret" not in repr(load_credentials("gemini", {"GEMINI_API_KEY": "secret"}).gemini_accounts)


def test_only_geminis_workers_read_the_encryption_key(tmp_path: Path) -> None:
    """From the environment, else from the data dir; no setting holds it."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "encryption_key").write_text("of the file\n")
    environment = {"CLAW_DATA_DIR": str(tmp_path)}
    assert load_credentials("gemini", environment).encryption_key == "of the file"
    assert load_credentials("gemini", {**environment, "CLAW_ENCRYPTION_KEY": "named"}).encryption_key == "named"
    assert load_credentials("paid", {**environment, "CLAW_ENCRYPTION_KEY": "named"}).encryption_key is None
    assert "encryption_key" not in Settings.__struct_fields__


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        (("CLAW_HEARTBEAT_S", "10"), ("CLAW_HEARTBEAT_BOUND_S", "0.5")),
        (("CLAW_HEARTBEAT_S", "1"), ("CLAW_HEARTBEAT_BOUND_S", "1.9")),
        (("CLAW_FIRST_TOKEN_TIMEOUT_S", "100"), ("CLAW_TOTAL_TIMEOUT_S", "60")),
        (("CLAW_BETWEEN_TOKENS_TIMEOUT_S", "5000"), ("CLAW_TOTAL_TIMEOUT_S", "3600")),
        (("CLAW_OLLAMA_NUM_CTX", "9000"), ("CLAW_OLLAMA_MAX_NUM_CTX", "8192")),
        (("CLAW_MAX_BODY_MIB", "600"), ("CLAW_MAX_BODIES_MIB", "512")),
    ],
)
def test_settings_that_contradict_each_other_are_refused_by_both_names(
    smaller: tuple[str, str], larger: tuple[str, str]
) -> None:
    """With their values."""
    with pytest.raises(SettingsError) as refused:
        load(**dict([smaller, larger]))
    for name, value in (smaller, larger):
        assert f"{name} ({value})" in str(refused.value)


@pytest.mark.parametrize(("mode", "owner"), [(0o770, None), (0o702, None), (0o700, 12345)])
def test_a_data_folder_that_others_rule_is_not_trusted_unless_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, owner: int | None
) -> None:
    """A `.claw` of the current folder that others may write to, or that is another user's: its secret is not read."""
    folder = tmp_path / ".claw"
    (folder / "secrets").mkdir(parents=True)
    (folder / "secrets" / "internal_secret").write_text("theirs")
    folder.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    assert load_settings({}).internal_secret == "theirs"
    folder.chmod(mode)
    if owner is not None:
        monkeypatch.setattr("os.geteuid", lambda: owner)
    for read in (load_settings, lambda environment: load_credentials("gemini", environment)):
        with pytest.raises(SettingsError, match=f"CLAW_DATA_DIR={folder}"):
            read({})
    assert load_settings({"CLAW_DATA_DIR": str(folder)}).internal_secret == "theirs"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("CLAW_PROT", "CLAW_PORT"), ("CLAW_LOCAL_MAXWAIT_S", "CLAW_LOCAL_MAX_WAIT_S"), ("CLAW_QQQ", None)],
)
def test_a_name_that_is_no_setting_is_said_with_the_nearest_one(name: str, nearest: str | None) -> None:
    """And refused where settings are strict. Right names, and those of others, say nothing."""
    text = f"{name} is not a setting" + (f"; {nearest} is" if nearest else "")
    assert unknown_variables({name: "1", "CLAW_PORT": "1", "CLAW_DATA_DIR": "a", "PLUGIN_X": "1"}) == [text]
    load(**{name: "1"})
    with pytest.raises(SettingsError, match=text):
        load(**{name: "1", "CLAW_STRICT_SETTINGS": "true"})


def test_servers_are_named_to_those_alone_that_use_them() -> None:
    """The api has all of them, a model server none."""
    servers = {"REDIS_URL": "redis://h", "DATABASE_URL": "postgresql://h", "PLUGIN_INTERNAL_SECRET": "s"}
    used = {
        process: set(environment_for(process, servers)) for process in (None, "local", "paid", "gemini", "recorder")
    }
    assert used == {
        None: set(),
        "local": {"REDIS_URL"},
        "paid": {"REDIS_URL"},
        "gemini": {"REDIS_URL", "DATABASE_URL"},
        "recorder": {"REDIS_URL", "DATABASE_URL"},
    }
    assert environment_for("web", servers) == servers
