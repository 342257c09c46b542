"""Whether Parsl can listen where its workers are to reach it."""

import errno
import socket
from ipaddress import ip_address


def ports_refused(address: str | None, ports: tuple[int, int]) -> str:
    """Say in one line why Parsl cannot listen there; empty where it can.

    Parsl itself would say so after two minutes, and only that it does not start.

    Args:
        address: of this host; None: all that it has.
        ports: the first and the last that it may take.
    """
    for port in range(ports[0], ports[1] + 1):
        refused = _refused(address, port)
        if refused is None:
            return ""
        if refused == errno.EADDRNOTAVAIL:
            return f"launcher.address {address} is not an address of this host: `ip address` lists those that it has"
    return (
        f"launcher.worker_ports [{ports[0]}, {ports[1]}]: on this host Parsl can listen on none of them; give others,"
        " or more of them"
    )


def _refused(address: str | None, port: int) -> int | None:
    """The number of the error with which a port cannot be listened on, or None where it can."""
    six = address is not None and ip_address(address).version == 6
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((address or "", port))
            one.listen()
        except OSError as error:
            return error.errno
    return None
