"""The identity of a process, by which another process can tell whether it is alive, even after a reboot."""

import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Owner:
    """A process: its host, the host's boot, its pid and start time (pids are reused)."""

    host: str
    boot_id: str
    pid: int
    pid_started: float
    """Clock ticks since the boot if the kernel provides them (independent of the system clock), else Unix time in s."""

    @classmethod
    def this_process(cls) -> "Owner":
        """The calling process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> "Owner":
        """The process of this host with this pid.

        Raises:
            psutil.NoSuchProcess: there is no such process.
        """
        return cls(socket.gethostname(), boot_id(), pid, started(pid))

    def lives(self) -> bool | None:
        """Whether the process still runs; None for a process of another host."""
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
            # Another user's process has reused the pid.
            return False


def started(pid: int) -> float:
    """The start time of a process, as in :attr:`Owner.pid_started`.

    Raises:
        psutil.NoSuchProcess: there is no such process.
    """
    try:
        # Field 22 of stat, see proc(5); the second field, a name in parentheses, may contain spaces.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
        return float(fields.split()[19])
    except (OSError, IndexError):
        return float(psutil.Process(pid).create_time())


def boot_id() -> str:
    """An identifier of this host's boot: the kernel's if it has one, else derived from the boot time."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{socket.gethostname()}:{psutil.boot_time():.0f}"))
