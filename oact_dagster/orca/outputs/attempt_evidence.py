"""Evidence from a failed attempt's output that only remedies need: SCF near convergence, memory ORCA asked for."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from oact_dagster.orca.outputs.file_blocks import UnreadableFileError, last_bytes
from oact_dagster.orca.outputs.reader import read_output
from oact_dagster.orca.outputs.scf_tables import last_scf

_TAIL: Final = 16 << 20
"""Bytes read from the end. A failed SCF is near it, even if ORCA (before version 5) goes on with MBs of populations."""

_NEAR_ENERGY: Final = 3e-3
_NEAR_LARGEST: Final = 1e-2
_NEAR_RMS: Final = 1e-3

# Lines of the echoed input begin with "|". A user's comment there is not a message from ORCA.
_MEMORY: Final = re.compile(
    rb"^(?![ \t]*\|)[^\n]*\bincrease[ \t]+%?maxcore[^\n\d]*(\d{1,9})(?:\.\d+)?[ \t]*MB",
    re.IGNORECASE | re.MULTILINE,
)
_ERROR_IN: Final = re.compile(
    rb"^[ \t]*ORCA finished by error termination in[ \t]+(\w[\w.+-]{0,40})", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class AttemptEvidence:
    """What a failed attempt's files tell about the next attempt; None for what is not known."""

    near_convergence: bool | None = None
    """Whether the last SCF was near convergence: |dE| < 3e-3 Eh, MaxP < 1e-2 and RMSP < 1e-3 in its last iteration."""
    memory_asked_mb: int | None = None
    """MB for each process, as in "Please increase MaxCore to more than: 289 MB"."""
    error_in: str | None = None
    """Program named in ORCA's error termination, such as GTOInt."""
    n_gradients: int | None = None
    """Number of Cartesian gradients: one for each finished cycle of an optimisation."""

    def to_json(self) -> dict[str, Any]:
        """Return what is known, as JSON values."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "AttemptEvidence":
        """Return the evidence from the output of ``to_json``; unknown keys (of a later version) are ignored."""
        return cls(**{field.name: raw[field.name] for field in fields(cls) if field.name in raw})


def read_evidence(output_file: Path) -> AttemptEvidence:
    """Read the evidence in an output of ORCA 3 to 6.1, gzipped or not, or in a job folder.

    Raises nothing and needs bounded memory.
    """
    output = read_output(output_file)
    if output.file is None:
        return AttemptEvidence()
    try:
        tail = last_bytes(output.file, _TAIL)
    except (OSError, UnreadableFileError):
        tail = b""
    asked = [int(match.group(1)) for match in _MEMORY.finditer(tail)]
    named = [match.group(1).decode() for match in _ERROR_IN.finditer(tail)]
    return AttemptEvidence(
        near_convergence=_near_convergence(tail),
        memory_asked_mb=max(asked, default=None),
        error_in=named[-1].rstrip(".") if named else None,
        n_gradients=output.n_gradients,
    )


def _near_convergence(tail: bytes) -> bool | None:
    """Return whether the last iteration of the last SCF was near convergence; None if that is not known."""
    # Only the last table counts. TRAH's has no density change, so it gives no answer.
    rows = (last_scf(tail) or [[]])[-1]
    if not rows:
        return None
    energy, largest, rms = rows[-1].change, rows[-1].largest_density_change, rows[-1].rms_density_change
    if energy is None or largest is None or rms is None:
        return None
    if len(rows) == 1 and energy == 0.0:
        # The first iteration has no energy change, since there is no energy before it.
        return None
    if not all(map(math.isfinite, (energy, largest, rms))):
        return False
    return abs(energy) < _NEAR_ENERGY and abs(largest) < _NEAR_LARGEST and abs(rms) < _NEAR_RMS
