"""The whole stack of one machine: embedded servers, the Procfile's processes, start and ordered stop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Final

from cli.up.child import Child, Program
from cli.up.child_log import ChildLog
from cli.up.embedded.server import ServerFailed
from cli.up.embedded.servers import Servers
from cli.up.forks import ForkServer
from cli.up.gateway import GatewayClient
from cli.up.preconditions import DiskWatch, StartFailed, check_database, check_redis, check_space
from cli.up.running import RunNote, remove_note, write_note
from cli.up.welcome import FirstQuestion, welcome
from shared.models.catalogue import AUTO, LOCAL
from shared.setting_values import SettingsError
from shared.settings import Settings, environment_for, load_credentials

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from cli.up.terminal import Terminal

_HEALTHY_TIMEOUT_S: Final = 120.0
_CONFIGURED_MODEL_TIMEOUT_S: Final = 20.0
_OTHER_TIERS_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.1
_LIST_POLL_S: Final = 0.5
_STOP_RESERVE_S: Final = 5.0
_SHOWN_LOG_LINES: Final = 10
_API: Final = ("-m", "api")
_LOCAL_WORKER: Final = ("-m", "workers", "local")
_PAID_WORKER: Final = ("-m", "workers", "paid")


class Stack:
    """Everything that one `nself claw up` runs.

    Args:
        settings: with the data dir made and its secrets in it.
        commands: of the processes, by name; `web` is the api.
        directory: where they run.
        terminal: what the user sees.
    """

    def __init__(
        self, settings: Settings, commands: Mapping[str, tuple[str, ...]], directory: Path, terminal: Terminal
    ) -> None:
        self._settings = settings
        self._commands = commands
        self._directory = directory
        self._terminal = terminal
        self._servers = Servers(settings, terminal)
        self._fork_server = ForkServer(directory, ChildLog(settings.data_dir / "log", "fork-server", terminal))
        self._gateway = GatewayClient(reachable_url(settings), settings.internal_secret or "")
        self._children: list[Child] = []
        self._is_up = False
        self._misconfigured: Child | None = None
        self._stop_requested = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> int:
        """Start everything, run until SIGINT, SIGTERM or SIGHUP, stop everything; return the exit code."""
        self._handle_signals()
        starting = asyncio.create_task(self._start())
        stop_requested = asyncio.create_task(self._stop_requested.wait())
        watch = DiskWatch(self._settings.data_dir, self._terminal.warn)
        house = asyncio.create_task(self._servers.keep_house(watch))
        try:
            # A signal must be heard during a start too, which may take minutes (crash recovery, loading a model).
            await asyncio.wait({starting, stop_requested}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await stop_requested
        except (StartFailed, ServerFailed) as error:
            self._terminal.error(str(error))
            return 1 if self._misconfigured is None else os.EX_CONFIG
        else:
            return 0
        finally:
            starting.cancel()
            stop_requested.cancel()
            house.cancel()
            await asyncio.wait({starting, stop_requested, house})
            await self._stop()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup ignores SIGHUP on purpose; a shell's `&` ignores SIGINT, but who sends that means it.
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if self._stop_requested.is_set():
            # The second Ctrl-C: who presses it again does not want to wait for the drain time.
            self._hurry.set()
        self._stop_requested.set()

    async def _start(self) -> None:
        check_space(self._settings.data_dir)
        # First: it imports while the servers start.
        self._fork_server.start()
        if self._servers.embedded:
            with self._terminal.step(f"Starting {self._servers.embedded}"):
                await self._servers.start()
            if (place := self._servers.system_folder) is not None:
                self._terminal.notice(f"The database is in {place}: `nself claw remove` takes it away.")
        if self._servers.no_model:
            self._terminal.warn(f"There is no local model: {self._servers.no_model}")
        if self._settings.redis_url is not None:
            await check_redis(self._settings.redis_url)
        if self._settings.database_url is not None and (later := await check_database(self._settings.database_url)):
            self._terminal.warn(later)
        self._start_processes()
        note = RunNote(
            pid=os.getpid(),
            claw_url=self._gateway.url,
            redis_url=self._servers.redis_url,
            database_url=self._servers.database_url,
            internal_secret=self._settings.internal_secret or "",
        )
        # Before it is ready: `nself claw env` is of use while the gateway waits for something.
        write_note(self._settings.data_dir, note)
        with self._terminal.step("Starting the gateway"):
            first_question = await self._wait_until_ready()
        self._is_up = True
        await welcome(self._gateway, self._settings, self._terminal, first_question)

    def _start_processes(self) -> None:
        counts = {
            _API: self._settings.api_processes or _by_cores(),
            _LOCAL_WORKER: self._settings.local_workers or _by_cores(),
        }
        environment = {
            # No load balancer has to notice anything, unless the user says that there is one.
            "CLAW_DRAIN_DELAY_S": "0",
            **os.environ,
            **self._servers.environment,
            "CLAW_DATA_DIR": str(self._settings.data_dir),
            "CLAW_PORT": str(self._settings.port),
            "CLAW_API_PROCESSES": str(counts[_API]),
            # Into a pipe Python would write in blocks, and the last lines of a crash would be lost.
            "PYTHONUNBUFFERED": "1",
        }
        for line, command in self._commands.items():
            count = counts.get(command[1:], 1)
            if command[1:] == _PAID_WORKER and not _has_paid_api(environment):
                count = 0  # it could only wait, for a key that a process cannot be given while it runs
            for number in range(1, count + 1):
                self._start_process(line, command, environment_for(line.removeprefix("worker-"), environment), number)

    def _start_process(self, line: str, command: tuple[str, ...], environment: Mapping[str, str], number: int) -> None:
        if self._settings.metrics_port is not None:
            # The api is the first, and each further process has the next port.
            port = self._settings.metrics_port + len(self._children)
            environment = {**environment, "CLAW_METRICS_PORT": str(port)}
        program = Program(
            name=line if number == 1 else f"{line}-{number}",
            command=command,
            directory=self._directory,
            environment=environment,
            # Longer than a process drains, so that SIGKILL is for those that hang.
            stop_timeout_s=self._settings.drain_delay_s + self._settings.drain_s + _STOP_RESERVE_S,
        )
        log = ChildLog(self._settings.data_dir / "log", program.name, self._terminal)
        child = Child(program, log, self._on_exit, self._fork_server.spawn)
        self._children.append(child)
        child.start()

    def _on_exit(self, child: Child) -> None:
        # Wrong settings do not become right by another start.
        if child.last_exit == os.EX_CONFIG and not self._is_up:
            self._misconfigured = child
            return
        self._terminal.warn(f"{child.program.name} {child.ending}; starting it again")

    async def _wait_until_ready(self) -> FirstQuestion:
        """Wait, and return who can be asked: the local model, else `auto` or nobody where the gateway is healthy."""
        gateway = self._gateway
        if why := await self._wait_for(gateway.why_unhealthy, _HEALTHY_TIMEOUT_S):
            raise StartFailed(self._with_log(f"The gateway is not healthy: {why}", "web"))
        if why := await self._wait_for(gateway.why_no_databases, _HEALTHY_TIMEOUT_S):
            raise StartFailed(self._with_log(f"The gateway is not ready: {why}", "web"))
        if self._servers.no_model:
            await self._wait_for(gateway.why_not_ready, _OTHER_TIERS_TIMEOUT_S)
            return await self._auto_instead("there is no local model")
        embedded = self._servers.has_embedded_model
        why = await self._wait_for_local(_HEALTHY_TIMEOUT_S if embedded else _CONFIGURED_MODEL_TIMEOUT_S)
        if not why:
            return FirstQuestion(LOCAL)
        first_question = await self._auto_instead(f"the local model server does not answer yet ({why})")
        # An embedded model that does not come is a defect of ours; one that is configured may come yet.
        if embedded and not first_question.model:
            raise StartFailed(self._with_log(f"The gateway is not ready: {why}", "worker-local"))
        return first_question

    async def _wait_for_local(self, timeout_s: float) -> str:
        """Wait for a local model; return what is still missing. Being ready is not enough: any tier does for that."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        if why := await self._wait_for(self._gateway.why_not_ready, timeout_s):
            return why
        return await self._wait_for(
            partial(self._gateway.why_not_listed, LOCAL), deadline - clock(), poll_s=_LIST_POLL_S
        )

    async def _auto_instead(self, why_not_local: str) -> FirstQuestion:
        return FirstQuestion("" if await self._gateway.why_not_listed(AUTO) else AUTO, why_not_local)

    async def _wait_for(self, why_not: Callable[[], Awaitable[str]], timeout_s: float, poll_s: float = _POLL_S) -> str:
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        while True:
            why = await why_not()
            if self._misconfigured is not None:
                name = self._misconfigured.program.name
                raise StartFailed(self._with_log(f"{name} cannot run as configured.", name))
            if not why or clock() >= deadline:
                return why
            await asyncio.sleep(poll_s)

    def _with_log(self, text: str, name: str) -> str:
        """Return `text`, and under it the last lines that child `name` wrote."""
        for child in self._children:
            if child.program.name == name:
                lines = list(child.log.tail)[-_SHOWN_LOG_LINES:]
                return "\n".join([text, f"The last lines of {child.log.path}:", *(f"  {line}" for line in lines)])
        return text

    async def _stop(self) -> None:
        self._terminal.notice("Stopping ...")
        groups: defaultdict[int, list[Child]] = defaultdict(list)
        for child in self._children:
            groups[_stop_rank(child.program.name)].append(child)
        # One rank after the other, and the servers last: every process ends with a word to them.
        for rank in sorted(groups):
            await asyncio.gather(*(child.stop(self._hurry) for child in groups[rank]))
        await self._fork_server.stop()
        await self._servers.stop(self._hurry)
        await self._gateway.aclose()
        remove_note(self._settings.data_dir)
        self._terminal.notice("Stopped.")


def _by_cores() -> int:
    """Return how many processes of a kind this machine is given: one for each four cores, 4 at most."""
    return max(1, min(4, (os.cpu_count() or 1) // 4))


def _has_paid_api(environment: Mapping[str, str]) -> bool:
    try:
        credentials = load_credentials("paid", environment)
    except SettingsError:
        return True  # the worker says what is wrong, and ends the start
    return bool(credentials.api_keys or credentials.paid_apis)


def _stop_rank(name: str) -> int:
    """Stop the api first, so that nothing new arrives; the recorder last, so that it sees the end of everything."""
    return {"web": 0, "recorder": 2}.get(name.partition("-")[0], 1)


def reachable_url(settings: Settings) -> str:
    """Return where this machine reaches the gateway, without /v1."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 -- compared, not bound
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
