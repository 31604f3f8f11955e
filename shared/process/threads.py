"""Work in threads, where msgspec needs to know every type before the first of them meets it.

It looks the fields of a Struct up when one is first decoded, and evaluates their annotations, which lets another thread
go on. That one finds the half of it and ends the process with a segmentation fault (msgspec 0.22): two large requests
at once, the first ones of a process, were enough.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")
_one: Final = ThreadPoolExecutor(1, "beside")


class _LookedUp:
    """The number of modules there were when the types of all of them had been looked up."""

    modules = 0


def prepare_structs() -> None:
    """Let msgspec look up every Struct there is, if modules were imported since the last time. Takes 20 ms at first."""
    if len(sys.modules) == _LookedUp.modules:
        return
    kinds: list[type[msgspec.Struct]] = [msgspec.Struct]
    while kinds:
        for kind in kinds.pop().__subclasses__():
            kinds.append(kind)
            # One that cannot be decoded is not decoded in a thread either.
            with suppress(NameError, TypeError):
                msgspec.json.Decoder(kind)
    _LookedUp.modules = len(sys.modules)


async def in_thread(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `work` returns, called in a thread."""
    prepare_structs()
    return await asyncio.to_thread(work, *args, **kwargs)


async def in_one_thread(work: Callable[[], T]) -> T:
    """Return what `work` returns, called in a thread after all that was to be called there before.

    For what makes long calls of a C library: several threads of them would keep the event loop waiting for each other.
    """
    prepare_structs()
    # Unlike to_thread, run_in_executor takes no context along.
    return await asyncio.get_running_loop().run_in_executor(_one, partial(copy_context().run, work))
