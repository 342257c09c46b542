"""Detection of network file systems, on which SQLite's write-ahead log would corrupt a database."""

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
"""File systems that several hosts may mount at once, by their names in the mount table."""


def network_filesystem(path: Path) -> str | None:
    """The network file system that a path lies on, such as ``nfs4`` or ``lustre``; None for a local one.

    The path need not exist yet.
    """
    resolved = path.resolve()
    best = ""
    kind = ""
    for mount in psutil.disk_partitions(all=True):
        point = mount.mountpoint
        inside = point == "/" or resolved == Path(point) or Path(point) in resolved.parents
        # Of two mounts on the same point, the later one hides the earlier.
        if inside and len(point) >= len(best):
            best, kind = point, mount.fstype.lower()
    return kind if kind in NETWORK_FILESYSTEMS else None
