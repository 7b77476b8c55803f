"""Loopback ports for the stack's processes.

A port is reserved for the life of the supervisor by binding the UDP port of the same number: two stacks that
start at the same moment never choose the same one, and the TCP port stays free for the server itself.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from penstock.core.errors import StopProcess

HOST: Final = "127.0.0.1"
TRIES: Final = 200


class Ports:
    """Reserved ports; close it when the stack has stopped."""

    def __init__(self) -> None:
        self.moved: dict[str, tuple[int, int]] = {}
        """{name: (preferred, taken)} of those that could not have the preferred one."""
        self._held: dict[int, socket.socket] = {}

    def reserve(self, preferred: int, name: str = "") -> int:
        """The preferred port, or the next free one above it; `name` tells whose it is.

        Raises:
            StopProcess: none of the next ports is free.
        """
        for port in range(preferred, min(preferred + TRIES, 65_536)):
            if port not in self._held and self._take(port):
                if name and port != preferred:
                    self.moved[name] = (preferred, port)
                return port
        raise StopProcess(
            f"no free port on {HOST} from {preferred} to {preferred + TRIES - 1}; set another PENSTOCK_*_PORT"
        )

    def close(self) -> None:
        """Give all ports back."""
        for reservation in self._held.values():
            reservation.close()
        self._held.clear()

    def _take(self, port: int) -> bool:
        reservation = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            reservation.bind((HOST, port))
            in_use = not is_free(port)
        except OSError as error:
            reservation.close()
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
        if in_use:
            reservation.close()
            return False
        self._held[port] = reservation
        return True


def is_free(port: int) -> bool:
    """Whether a server could listen on this TCP port of loopback now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
        return True
