"""Progress of a running calculation, from what was added to its output since the last look.

For display only; :mod:`oact_dagster.orca.outputs.reader` reads results.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MOST_READ: Final = 1 << 20
"""Most bytes read at one look. If more were added, only the last ones are read."""

_EVENT: Final = re.compile(
    rb"GEOMETRY OPTIMIZATION CYCLE[ \t]+(?P<opt>\d{1,6})[ \t]"
    rb"|^(?P<table>I(?:TER|teration)[ \t]+Energy)"
    rb"|^[ \t]*(?P<row>\d{1,6})[ \t]+(?P<energy>-\d+\.\d{6,})[ \t]"
    rb"|CONVERGED AFTER[ \t]+(?P<converged>\d{1,6}) CYCLES"
    rb"|FINAL SINGLE POINT ENERGY[ \t]+(?P<final>-\d+\.\d+)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Progress:
    """State of a running calculation; None for what its output does not show yet."""

    opt_cycle: int | None = None
    """Cycle of the geometry optimisation, from 1."""
    scf_cycle: int | None = None
    """Cycle of the current SCF, or the last one of the previous SCF."""
    energy: float | None = None
    """Energy of that cycle, Eh."""

    def __str__(self) -> str:
        parts = [
            None if self.opt_cycle is None else f"optimisation cycle {self.opt_cycle}",
            None if self.scf_cycle is None else f"SCF cycle {self.scf_cycle}",
            None if self.energy is None else f"E = {self.energy:.6f} Eh",
        ]
        return ", ".join(part for part in parts if part is not None)


class ProgressReader:
    """Reads only what was added to an output, which need not exist yet, since the last look."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._position = 0
        self._in_table = False
        self._seen = Progress()

    def look(self) -> Progress | None:
        """Return the current progress, or None if there is none since the last look."""
        try:
            with self._file.open("rb") as stream:
                size = stream.seek(0, 2)
                start = max(self._position, size - MOST_READ)
                stream.seek(start)
                new = stream.read(MOST_READ)
        except OSError:
            return None
        whole = new.rfind(b"\n") + 1  # a line that is still being written waits for the next look
        self._position = start + whole
        before = self._seen
        for event in _EVENT.finditer(new, 0, whole):
            self._take(event)
        return self._seen if self._seen != before else None

    def _take(self, event: "re.Match[bytes]") -> None:
        seen = self._seen
        if event["opt"] is not None:
            self._seen = Progress(int(event["opt"]), None, seen.energy)
        elif event["table"] is not None:
            self._in_table = True
        elif event["converged"] is not None:
            self._in_table = False
            self._seen = Progress(seen.opt_cycle, int(event["converged"]), seen.energy)
        elif event["final"] is not None:
            self._in_table = False
            self._seen = Progress(seen.opt_cycle, seen.scf_cycle, float(event["final"]))
        elif self._in_table:
            self._seen = Progress(seen.opt_cycle, int(event["row"]), float(event["energy"]))
