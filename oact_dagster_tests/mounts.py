"""Disks for tests: a table of mounts, and a small disk that can be filled."""

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def small_disk(folder: Path, size: str, files: int = 0) -> Iterator[Path]:
    """A disk of its own in ``folder``, as long as it is needed; where none can be mounted, the test is skipped.

    Args:
        folder: where it is mounted; it is made.
        size: of it, such as ``64k``.
        files: how many it holds at most; 0 for no limit.
    """
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("a disk that is full can be mounted by root only")
    folder.mkdir(parents=True)
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={size},nr_inodes={files}", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip(f"a disk cannot be mounted here: {made.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        # Lazily: a ledger may be open in a test that failed.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, leave: int = 0) -> None:
    """Fill a disk.

    Args:
        disk: where it is mounted.
        leave: so much stays free, bytes.
    """
    filler = disk / "filler"
    filler.mkdir()
    with (filler / "0").open("ab", buffering=0) as stream, contextlib.suppress(OSError):
        while shutil.disk_usage(disk).free > leave:
            stream.write(b"x" * 4096)


def fill_with_files(disk: Path) -> None:
    """Make files on a disk until it takes no more of them; there is space left in those that are there."""
    filler = disk / "filler"
    filler.mkdir()
    with contextlib.suppress(OSError):
        for number in itertools.count():
            (filler / str(number)).touch()


def make_room(disk: Path) -> None:
    """Remove what a disk was filled with."""
    shutil.rmtree(disk / "filler")
