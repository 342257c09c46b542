"""A table of mounts for tests: which folder lies on which file system."""

from pathlib import Path

import psutil
import pytest


def mount(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system's table of mounts say that a folder lies on a file system of another kind.

    Args:
        folder: in a folder of the test's own, where the table is written.
        kind: its name in the table, such as ``nfs4``.
        monkeypatch: undoes it.
    """
    proc = folder.parent / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "filesystems").write_text(f"nodev\t{kind}\n\text4\n")
    (proc / "self" / "mounts").write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/export {folder} {kind} rw 0 0\n")
    for name in ("meminfo", "zoneinfo"):
        (proc / name).symlink_to(f"/proc/{name}")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(proc))
