"""Limits of the operating system on a process, and of its garbage collector."""

from __future__ import annotations

import gc
import resource


def allow_many_files() -> None:
    """Raise the soft limit of open files to the hard one. Each open stream is one; 1,024 is the usual soft limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The soft one is that low for programs that use select(), which we do not.
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def freeze_heap() -> None:
    """Make garbage collections pass over what is there now: modules and what they made, which stay to the end.

    A full collection looks at every object that it does not pass over, and holds the event loop meanwhile: 50 ms in a
    process with all that we import.
    """
    gc.collect()  # garbage that is frozen would stay for good
    gc.freeze()
