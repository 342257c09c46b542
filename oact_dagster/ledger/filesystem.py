"""What kind of file system a path lies on: SQLite's WAL corrupts a database on a network file system."""

from pathlib import Path
from typing import Final

import psutil

NETWORK_FILESYSTEMS: Final[frozenset[str]] = frozenset(
    {
        "9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "cvmfs", "fuse.ceph", "fuse.glusterfs", "fuse.juicefs",
        "fuse.sshfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs",
        "panfs", "pvfs2", "smb3", "smbfs", "wekafs",
    }
)  # fmt: skip
"""File systems that several hosts may have mounted at once, by the name in the mount table."""


def network_filesystem(path: Path) -> str | None:
    """Tell whether a path lies on a network file system.

    Args:
        path: a file or folder; what does not exist yet is judged by its nearest existing parent.

    Returns:
        The file system's name (``nfs4``, ``lustre``, …), or None on a local one.
    """
    resolved = path.resolve()
    best = ""
    kind = ""
    for mount in psutil.disk_partitions(all=True):
        point = mount.mountpoint
        inside = point == "/" or resolved == Path(point) or Path(point) in resolved.parents
        # Of two mounts on one point the later one is what is seen.
        if inside and len(point) >= len(best):
            best, kind = point, mount.fstype.lower()
    return kind if kind in NETWORK_FILESYSTEMS else None
