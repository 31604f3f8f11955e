"""`nself claw up` on real servers: what a start shows, keeps and refuses."""

import json
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.up.embedded.postgres_home import system_folders
from cli.up.ports import free_port
from tests.integration.cli.up.up_stack import Up, printed_environment, up_in


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    """A folder with a Procfile of small scripts; nothing runs yet."""
    async with up_in(tmp_path) as stack:
        yield stack


async def test_a_first_start_shows_answer_key_and_curl_and_the_second_no_new_key(up: Up) -> None:
    """What a newcomer needs, once; and the terminal shows warnings only."""
    await up.started()
    assert "a first answer" in up.shown
    assert "API key: sk-nself-first\nIt will not be shown again." in up.shown
    assert "curl -N http://localhost" in up.shown
    assert '-H "Authorization: Bearer sk-nself-first"' in up.shown
    assert "WARNING script shown" in up.shown
    assert "not shown" not in up.shown
    assert "INFO script not shown" in (up.folder / "data" / "log" / "worker-a.log").read_text()
    assert json.loads((up.folder / "key").read_text()) == {"name": "default", "admin_allowed": False, "rpm_limit": 60}
    assert await up.stop(signal.SIGINT) == 0
    up.shown = ""
    await up.started()

    assert "Existing API keys stay valid; `nself claw api keys create --name NAME` makes a new one." in up.shown
    assert '-H "Authorization: Bearer sk-nself-YOUR-KEY"' in up.shown


async def test_each_further_process_has_the_next_port_for_metrics(up: Up) -> None:
    """The api, which is the first, the one that is set."""
    up.environment["CLAW_METRICS_PORT"] = "39464"
    await up.started()
    logs = up.folder / "data" / "log"
    assert "INFO metrics at 39465\n" in (logs / "worker-a.log").read_text()
    assert "INFO metrics at 39466\n" in (logs / "recorder.log").read_text()


async def test_a_second_start_on_the_same_data_is_refused(up: Up) -> None:
    """And names the first one's process; the first is not disturbed."""
    await up.started()
    second = await Up(up.folder, free_port()).run()

    assert await second.exit_code() == 1
    assert f"already runs on {up.folder / 'data'} (process {up.pid})" in second.shown
    assert await up.web_pid()


async def test_a_taken_port_is_named_before_anything_is_started(up: Up) -> None:
    """With the variable that chooses another."""
    port = int(up.environment["CLAW_PORT"])
    with socket.create_server(("127.0.0.1", port)):
        await up.run()
        assert await up.exit_code() == 1

    assert f"Port {port} on 127.0.0.1 is taken" in up.shown
    assert "CLAW_PORT=" in up.shown
    assert not (up.folder / "data" / "valkey").exists()


async def test_a_wrong_variable_is_named(up: Up) -> None:
    """By the settings' own text, with the exit code of every process that is configured wrongly."""
    await up.run(CLAW_PORT="many")

    assert await up.exit_code() == os.EX_CONFIG
    assert "CLAW_PORT must be a number" in up.shown


@pytest.mark.parametrize("host", ["999.1.1.1", "192.0.2.1", "a..b"])
@pytest.mark.parametrize("port", [None, "0"])
async def test_an_address_that_is_none_of_this_machine_is_named(up: Up, host: str, port: str | None) -> None:
    """With its variable, before anything is started; also where any port would do."""
    await up.run(CLAW_HOST=host, **({} if port is None else {"CLAW_PORT": port}))

    assert await up.exit_code() == os.EX_CONFIG
    assert f"CLAW_HOST={host} cannot be listened on: " in up.shown
    assert "Errno" not in up.shown
    assert not (up.folder / "data" / "valkey").exists()


async def test_the_local_model_is_waited_for_though_another_tier_is_ready(up: Up) -> None:
    """`auto` is on offer first; asked is who was promised."""
    (up.folder / "models").write_text("\nauto\nauto local\n")
    await up.started()

    assert (up.folder / "asked").read_text() == "local\n"
    assert "(model local; first token after" in up.shown


async def test_auto_is_asked_where_no_local_model_comes(up: Up) -> None:
    """After a while, which is said."""
    (up.folder / "models").write_text("auto\n")
    up.model_timeout_s = 0.1
    await up.started()

    assert (up.folder / "asked").read_text() == "auto\n"
    assert "Asking auto: the local model server does not answer yet (local is not on offer)" in up.shown
    assert "(model auto; first token after" in up.shown


async def test_nobody_is_asked_where_nothing_is_on_offer(up: Up) -> None:
    """The gateway runs all the same."""
    (up.folder / "models").touch()
    up.model_timeout_s = 0.1
    await up.started()

    assert not (up.folder / "asked").exists()
    assert "First answer skipped: the local model server does not answer yet (local is not on offer)" in up.shown


async def test_a_first_answer_that_fails_says_why_in_words(up: Up) -> None:
    """The error's message, and none of its JSON."""
    (up.folder / "refusal").write_text('{"error": {"message": "No local model.", "code": "no_local_model"}}')
    await up.started()

    assert "The first answer failed: 503 No local model.\n" in up.shown
    assert '{"error"' not in up.shown


async def test_a_process_that_cannot_run_as_configured_ends_the_start(up: Up) -> None:
    """Exit code 78 means that starting it again is of no use; it is that of `up`, and its last lines are shown."""
    (up.folder / "idle.py").write_text("import sys; print('SOME_VARIABLE is wrong'); sys.exit(78)")
    (up.folder / "web.py").write_text("import signal; signal.pause()")
    await up.run()

    assert await up.exit_code() == os.EX_CONFIG
    assert "cannot run as configured" in up.shown
    assert "SOME_VARIABLE is wrong" in up.shown


async def test_secrets_are_private_and_stay_the_same(up: Up) -> None:
    """Generated once, readable by their owner alone."""
    data = up.folder / "data"
    await up.started()
    assert await up.stop(signal.SIGINT) == 0
    first = {path.name: path.read_text() for path in (data / "secrets").iterdir()}
    up.shown = ""
    await up.started()

    assert set(first) == {"internal_secret", "encryption_key", "postgres_password", "valkey_password"}
    assert {path.name: path.read_text() for path in (data / "secrets").iterdir()} == first
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    for file in (*(data / "secrets").iterdir(), data / "run.json", data / "log" / "web.log"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


async def test_env_prints_what_a_shell_needs_and_fails_when_nothing_runs(up: Up) -> None:
    """`eval "$(nself claw env)"`."""
    await up.started()
    printed = await printed_environment(up)
    names = {"REDIS_URL", "DATABASE_URL", "PLUGIN_INTERNAL_SECRET", "NSELF_CLAW_URL", "NSELF_CLAW_ENV"}
    assert set(printed) == names
    assert printed["NSELF_CLAW_URL"] == up.url
    assert printed["PLUGIN_INTERNAL_SECRET"] == (up.folder / "data" / "secrets" / "internal_secret").read_text()
    elsewhere = await Up(up.folder, 1).run("env", PLUGIN_INTERNAL_SECRET="that of another shell")
    assert await elsewhere.exit_code() == 0
    assert f"PLUGIN_INTERNAL_SECRET={printed['PLUGIN_INTERNAL_SECRET']}\n" in elsewhere.shown
    assert await up.stop(signal.SIGINT) == 0

    after = await Up(up.folder, 1).run("env")
    assert await after.exit_code() == 1
    assert "No gateway runs" in after.shown


async def test_a_shell_with_the_settings_of_another_gateway_starts_none_by_accident(up: Up) -> None:
    """After `eval "$(nself claw env)"` it would use that one's servers: it says so, and starts its own with --here."""
    of_other = {
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "DATABASE_URL": "postgresql://claw@127.0.0.1:1/claw",
        "NSELF_CLAW_ENV": "/home/somebody/.claw",
    }
    await up.run(**of_other)
    assert await up.exit_code() == os.EX_CONFIG
    assert "/home/somebody/.claw" in up.shown
    assert "nself claw up --here" in up.shown
    assert not (up.folder / "data").exists()
    up.shown = ""
    await up.run("up", "--here", **of_other)
    await up.shows("Ctrl-C stops everything")


async def test_a_folder_that_others_may_read_is_closed_and_that_is_said(up: Up) -> None:
    """Its secrets too."""
    secrets = up.folder / "data" / "secrets"
    secrets.mkdir(parents=True, mode=0o755)
    (secrets / "internal_secret").write_text("geheim")
    for path, mode in ((up.folder / "data", 0o755), (secrets, 0o755), (secrets / "internal_secret", 0o644)):
        path.chmod(mode)
    await up.started()
    assert f"{secrets}/internal_secret was open to other users (mode 644)" in up.shown
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (secrets.parent, secrets, secrets / "internal_secret")]
    assert modes == [0o700, 0o700, 0o600]


async def test_remove_takes_everything_away_but_nothing_that_runs(up: Up) -> None:
    """Root's database too, which is elsewhere."""
    await up.started()
    refused = await Up(up.folder, 1).run("remove", "--yes")
    assert (await refused.exit_code(), "already runs" in refused.shown) == (1, True)
    places = [place for place, data_dir in system_folders().items() if data_dir == up.folder / "data"]
    assert len(places) == (os.geteuid() == 0)
    assert all(f"The database is in {place}" in up.shown for place in places)
    assert await up.stop(signal.SIGINT) == 0
    removed = await Up(up.folder, 1).run("remove", "--yes")
    assert (await removed.exit_code(), removed.shown.endswith("Removed.\n")) == (0, True)
    assert not any(path.exists() for path in (*places, up.folder / "data"))
    nothing = await Up(up.folder, 1).run("remove", "--yes")
    assert (await nothing.exit_code(), "is no data folder" in nothing.shown) == (1, True)
