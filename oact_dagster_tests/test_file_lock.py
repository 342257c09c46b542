import errno
import fcntl
import os
import subprocess
import sys

import pytest

from oact_dagster.files import FileLock

HOLD = """
import sys
from pathlib import Path
from oact_dagster.files import FileLock
lock = FileLock(Path(sys.argv[1]), across_hosts=bool(sys.argv[2]))
print(flush=True)
input()
"""


@pytest.mark.parametrize("kind", ["", "across_hosts"])
def test_another_process_holds_a_lock_until_it_dies(tmp_path, kind):
    path = tmp_path / "lock"
    path.write_text("kept")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(BlockingIOError, match="lock"):
            FileLock(path, across_hosts=bool(kind))
        other.kill()
        FileLock(path, wait=True, across_hosts=bool(kind)).close()
    assert path.read_text() == "kept"


def test_two_parts_of_one_process_do_not_share_a_lock(tmp_path):
    lock = FileLock(tmp_path / "lock")
    with pytest.raises(BlockingIOError):
        FileLock(tmp_path / "lock")
    lock.close()
    FileLock(tmp_path / "lock").close()


def test_a_file_system_without_locks_is_told_and_stops_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    lock = FileLock(tmp_path / "lock")
    assert lock.trouble == os.strerror(errno.ENOLCK)
    lock.close()


def test_a_file_that_cannot_be_made_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        FileLock(tmp_path / "nowhere" / "lock")
