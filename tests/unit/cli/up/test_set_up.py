"""Ports, the lock of the data dir, the link in ~/.local/bin."""

import socket
import subprocess
from pathlib import Path

import pytest

from cli.up.link import link_command
from cli.up.ports import LOOPBACK, free_port, is_free, remembered_port
from cli.up.running import AlreadyRuns, RunNote, exclusive, read_note, write_note
from shared.settings import PROJECT_ROOT


async def test_a_port_is_remembered_while_it_is_free(tmp_path: Path) -> None:
    """Clients of an embedded server find it again after a restart."""
    first = await remembered_port(tmp_path / "port")

    assert await remembered_port(tmp_path / "port") == first


async def test_a_remembered_port_that_is_taken_is_given_up(tmp_path: Path) -> None:
    """Another program may have it by now."""
    first = await remembered_port(tmp_path / "port")
    with socket.create_server((LOOPBACK, first)):
        assert not is_free(LOOPBACK, first)
        second = await remembered_port(tmp_path / "port", timeout_s=0)

    assert second != first
    assert (tmp_path / "port").read_text() == f"{second}\n"


def test_a_free_port_is_none_that_an_outgoing_connection_may_get() -> None:
    """Else one could take it before the server that it is for."""
    first, *_ = (int(port) for port in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    found = [free_port() for _ in range(20)]
    assert all(1024 < port < first for port in found)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("text", ["", "x", "0", "70000", "-1"])
async def test_a_damaged_port_file_is_replaced(tmp_path: Path, text: str) -> None:
    """It is only a convenience."""
    (tmp_path / "port").write_text(text)

    assert 0 < await remembered_port(tmp_path / "port") <= 65535


def test_a_port_of_a_foreign_address_is_an_error_not_a_taken_port() -> None:
    """The message must not send the user after a program that does not exist."""
    with pytest.raises(OSError, match="assign requested address"):
        is_free("192.0.2.1", free_port())


def test_the_data_dir_is_held_by_one_and_names_it(tmp_path: Path) -> None:
    """And is free again afterwards."""
    with exclusive(tmp_path), pytest.raises(AlreadyRuns, match=r"already runs on .* \(process \d+\)"):  # noqa: SIM117 -- the order is what is tested
        with exclusive(tmp_path):
            pass
    with exclusive(tmp_path):
        pass


def test_a_note_counts_only_while_its_writer_runs(tmp_path: Path) -> None:
    """After a kill -9 the file is still there."""
    note = RunNote(pid=1, claw_url="http://x", redis_url="redis://x", database_url="postgresql://x")
    with exclusive(tmp_path):
        write_note(tmp_path, note)
        assert read_note(tmp_path) == note

    assert read_note(tmp_path) is None


def _command(folder: Path) -> Path:
    command = folder / ".venv" / "bin" / "nself"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    return command


def test_the_command_is_linked_once_and_found_again(tmp_path: Path) -> None:
    """The second `make up` says the same and changes nothing."""
    command, folder = _command(tmp_path / "tree"), tmp_path / "bin"

    assert link_command(command, folder, str(folder)) == f"nself has been linked into {folder}."
    assert link_command(command, folder, str(folder)) == f"nself is linked into {folder}."
    assert (folder / "nself").readlink() == command


def test_a_folder_off_the_path_is_reported_to_be(tmp_path: Path) -> None:
    """Else the user types `nself` in vain."""
    assert "not on your PATH" in link_command(_command(tmp_path / "tree"), tmp_path / "bin", "/usr/bin")


@pytest.mark.parametrize("on_path", [True, False])
def test_another_nself_is_left_alone(tmp_path: Path, *, on_path: bool) -> None:
    """Whether the shell would find it or it only lies where the link would go."""
    folder = tmp_path / "bin"
    folder.mkdir()
    other = folder / "nself"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)

    said = link_command(_command(tmp_path / "tree"), folder, str(folder) if on_path else "/nowhere")

    assert said.startswith(f"Another nself is at {other}: it was left alone")
    assert not other.is_symlink()


def test_a_link_of_a_checkout_that_is_gone_is_replaced(tmp_path: Path) -> None:
    """It is ours, and leads nowhere."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "nself").symlink_to(tmp_path / "gone" / ".venv" / "bin" / "nself")
    command = _command(tmp_path / "tree")

    link_command(command, folder, str(folder))

    assert (folder / "nself").readlink() == command


def test_an_activated_environment_of_ours_is_no_other_nself(tmp_path: Path) -> None:
    """`make up` from within the virtual environment still links."""
    command, folder = _command(tmp_path / "tree"), tmp_path / "bin"

    assert "has been linked" in link_command(command, folder, f"{command.parent}:{folder}")


@pytest.mark.parametrize(
    ("optimised", "chosen"),
    [
        (set(), "python3"),
        ({"python3.13"}, "python3.13"),
        ({"python3", "python3.13"}, "python3"),
        ({"python3.10"}, "python3"),
    ],
)
def test_make_takes_an_optimised_python_where_there_is_one(tmp_path: Path, optimised: set[str], chosen: str) -> None:
    """Of those that are new enough; else the one that is called python3."""
    for name in ("python3", "python3.13", "python3.10"):
        script = tmp_path / name
        # It answers the two questions that are asked of it: new enough, and how it was built.
        how_built, new_enough = int(name not in optimised), int(name == "python3.10")
        script.write_text(f'#!/bin/sh\ncase "$2" in *CONFIG_ARGS*) exit {how_built};; *) exit {new_enough};; esac\n')
        script.chmod(0o755)
    found = subprocess.run(
        ["/bin/sh", str(PROJECT_ROOT / "requirements" / "python.sh")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout.split() == [chosen]
