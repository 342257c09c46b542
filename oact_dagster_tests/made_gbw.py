"""Orbital files in the layout that is known of ORCA's."""

import struct


def gbw(
    n: int = 6, spins: int = 1, *, occupation: float = 2.0, energy: float = -1.0, tail: bytes = b"ecp"
) -> bytes:
    """The known layout: five pointers, the geometry, the basis, the orbitals."""
    one = struct.pack(
        f"<{n * n}d{n}d{n}d{n}i{n}i",
        *[0.1] * (n * n),
        *[occupation] * (n // 2),
        *[0.0] * (n - n // 2),
        *[energy] * n,
        *[0] * 2 * n,
    )
    orbitals = struct.pack("<2i", spins, n) + one * spins
    begin = 40 + 30
    return struct.pack("<5q", 40, 50, 60, begin, begin + len(orbitals)) + b"x" * 30 + orbitals + tail
