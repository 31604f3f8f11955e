"""Work in threads: msgspec knows each type before a thread meets it."""

from __future__ import annotations

import subprocess
import sys
import threading
from textwrap import dedent

from shared.process import tasks, threads
from tests.unit.house.tree import PRODUCT, files, relative

# One of the annotations takes its time, in which another thread decodes the same type.
PROGRAM = dedent(
    """
    from __future__ import annotations

    import asyncio
    import threading

    import msgspec

    from shared.process.threads import in_one_thread, in_thread

    begun, met = threading.Event(), threading.Event()


    def slow() -> type[int]:
        begun.set()
        if threading.current_thread() is not threading.main_thread():
            met.wait(10)
        return int


    class Inner(msgspec.Struct):
        number: slow() = 0


    class Asked(msgspec.Struct):
        inner: Inner
        text: str


    def first() -> int:
        return len(msgspec.json.decode(b'{"inner": {}, "text": "a"}', type=Asked).text)


    def second() -> int:
        begun.wait(10)
        found = msgspec.json.decode(b'{"inner": {}, "text": "ab"}', type=Asked)
        met.set()
        return len(found.text)


    async def main() -> None:
        print(sum(await asyncio.gather(in_one_thread(first), in_thread(second))))


    asyncio.run(main())
    """
)


def test_the_first_two_large_requests_may_come_at_once() -> None:
    """A process of its own: where a thread meets half of a type, it ends with a segmentation fault."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "3\n", "")


async def test_work_on_many_bytes_is_done_in_a_thread() -> None:
    """And work on few where it is asked for."""
    at = [await tasks.work_beside(size, threading.get_ident) for size in (1, tasks.LARGE_BYTES + 1)]
    assert at[0] == threading.get_ident() != at[1]
    assert await threads.in_thread(lambda number: number + 1, 1) == 2


def test_work_goes_into_threads_in_one_place() -> None:
    """Two decode nothing, and have reasons of their own: one resolves a name, one is waited for only so long."""
    ways = ("to_thread(", "run_in_executor(", "Thread(", "ThreadPoolExecutor(")
    found = {relative(path) for path in files(*PRODUCT) if any(way in path.read_text() for way in ways)}
    assert found == {
        "shared/process/threads.py",
        "shared/process/tracing/tracer.py",
        "workers/providers/images/addresses.py",
    }
