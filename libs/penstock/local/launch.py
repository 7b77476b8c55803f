"""Becomes another program that dies with its parent: `python -I -S launch.py SIGNAL PARENT UID PROGRAM ARG…`.

A program of its own in place of `preexec_fn`: code between fork and exec is not safe once the parent has
threads. The order matters: changing the uid clears the parent-death signal, exec keeps it.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Drop to UID (`-` keeps it), ask for SIGNAL at PARENT's death, exec PROGRAM."""
    signal, parent, uid, *command = sys.argv[1:]
    if uid != "-":
        os.setgroups([])
        os.setgid(int(uid))
        os.setuid(int(uid))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal), 0, 0, 0)
        if os.getppid() != int(parent):  # it died before the call
            sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606 - a shell is not wanted
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


main()
