"""Start one program so that it dies with the process that asked for it.

A script of its own, run in a fresh interpreter between the fork and the program: what it does is
not safe in a child of a process with threads. Arguments: PARENT SIGNAL UID GID PROGRAM ARGS...
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, signal_number, uid, gid = (int(word) for word in sys.argv[1:5])
    program = sys.argv[5:]
    if uid != os.geteuid():
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After the change of user, which the kernel answers by forgetting this wish.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")
    try:
        os.execvp(program[0], program)  # noqa: S606 (this script's whole purpose)
    except OSError as error:
        sys.exit(f"{program[0]} cannot be started: {error.strerror}")


main()
