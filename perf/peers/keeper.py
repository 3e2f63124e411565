"""Runs a command, adopts whatever it leaves behind, and ends all of it when asked.

    python keeper.py COMMAND ARGUMENT…

It is the subreaper of the tree (prctl(2)): a process that daemonizes itself, as Ray's do, becomes
its child instead of init's, so that the whole tree can be found, and the CPU time of those that
have ended is in its own ``cutime`` and ``cstime`` once it has waited for them. SIGTERM, which it
also gets when the program that started it dies, ends the tree: kindly first, then by force.
"""

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
KINDLY_S, AGAIN_S = 10, 1


def children() -> list[int]:
    """Give the processes whose parent this is, adopted ones among them."""
    me = os.getpid()
    return list(map(int, Path(f"/proc/{me}/task/{me}/children").read_text().split()))


def send(number: int) -> None:
    """Send a signal to each child."""
    for pid in children():
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def end(number: int, _: object) -> None:
    """Ask for the end; at the second time, and then each second, demand it."""
    if number == signal.SIGALRM:
        send(signal.SIGKILL)
    else:
        send(signal.SIGCONT)
        send(signal.SIGTERM)
    signal.alarm(AGAIN_S if number == signal.SIGALRM else KINDLY_S)


def main() -> None:
    """Start the command and wait for children until the last has ended."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    # Handlers, unlike ignored signals, are not handed on to the command.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, end)
    subprocess.Popen(sys.argv[1:])
    with suppress(ChildProcessError):
        while True:
            os.wait()


if __name__ == "__main__":
    main()
