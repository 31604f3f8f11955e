"""Becomes another program that dies with the process that started it.

    python -I -S launch.py DEATH_SIGNAL PARENT_PID USER PROGRAM [ARGUMENT ...]

A separate program, and no preexec_fn, because Python code between fork and exec can deadlock in a
process that has threads. Nothing of this project is imported: it is run by its path. USER is `-` or
the name of a user to become (needs root).
"""

import ctypes
import os
import pwd
import sys
import warnings  # noqa: F401 -- os.execvp does, when the other user may not be able to read it any more

_PR_SET_PDEATHSIG = 1
_CANNOT_EXECUTE = 126  # as shells say it (POSIX)


def main(death_signal: int, parent_pid: int, user: str, *command: str) -> None:
    """Replace this process by `command`; exits with 126 and a line on stderr if that is not possible."""
    try:
        if user != "-":
            _become(user)
        # After the change of user: that clears the setting.
        die_with_parent(death_signal, parent_pid)
        os.execvp(command[0], command)  # noqa: S606 -- no shell is wanted
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error}\n")
        sys.exit(_CANNOT_EXECUTE)


def _become(user: str) -> None:
    entry = pwd.getpwnam(user)
    # In this order: without root's rights neither the groups nor the group could be changed any more.
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def die_with_parent(death_signal: int, parent_pid: int) -> None:
    """Ask for `death_signal` at the death of the parent; end at once if it has died already."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:  # it died before the setting took effect
        sys.exit(_CANNOT_EXECUTE)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
