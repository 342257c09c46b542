"""Who a process is, so that another process, also one started after a reboot, can tell whether it still lives."""

import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Owner:
    """A process: its host, that host's boot, its pid and when it started (a pid alone is used again)."""

    host: str
    boot_id: str
    pid: int
    pid_started: float
    """Clock ticks since the boot where the kernel tells them (a clock set back does not change them), else
    Unix time in s."""

    @classmethod
    def this_process(cls) -> "Owner":
        """The calling process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> "Owner":
        """A process of this host.

        Raises:
            psutil.NoSuchProcess: there is none with this number.
        """
        return cls(socket.gethostname(), boot_id(), pid, started(pid))

    def lives(self) -> bool | None:
        """Tell whether the process still runs.

        Returns:
            True or False where this host can tell; None for a process of another host.
        """
        if self.host != socket.gethostname():
            return None
        if self.boot_id != boot_id():
            return False
        try:
            same = abs(started(self.pid) - self.pid_started) < 1.5
            return same and psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            # Somebody else's process: the pid was used again.
            return False


def started(pid: int) -> float:
    """When a process started, in a unit that is the same for every call on one boot of a host.

    Raises:
        psutil.NoSuchProcess: there is no such process.
    """
    try:
        # Field 22 of proc(5)'s stat; the second field, a name in parentheses, may itself hold spaces.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
        return float(fields.split()[19])
    except (OSError, IndexError):
        return float(psutil.Process(pid).create_time())


def boot_id() -> str:
    """A name for this boot of this host: the kernel's own where there is one, else the time of the boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{socket.gethostname()}:{psutil.boot_time():.0f}"))
