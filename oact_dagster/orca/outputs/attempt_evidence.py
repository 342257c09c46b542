"""What the output of a failed attempt tells for the next one: how near the SCF was, what memory ORCA asked for.

``outputs`` says how a run ended; this reads what only a remedy needs, and only of attempts that failed.
"""

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
"""Bytes of the end that are read. An SCF that failed stands near it; the populations behind one that ORCA went on
from (versions before 5) take a few MB."""

_NEAR_ENERGY: Final = 3e-3
_NEAR_LARGEST: Final = 1e-2
_NEAR_RMS: Final = 1e-3

# A line of the echoed input begins with "|": whatever a user's comment says is no message of ORCA's.
_MEMORY: Final = re.compile(
    rb"^(?![ \t]*\|)[^\n]*\bincrease[ \t]+%?maxcore[^\n\d]*(\d{1,9})(?:\.\d+)?[ \t]*MB",
    re.IGNORECASE | re.MULTILINE,
)
_ERROR_IN: Final = re.compile(
    rb"^[ \t]*ORCA finished by error termination in[ \t]+(\w[\w.+-]{0,40})", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class AttemptEvidence:
    """What a failed attempt's files tell for the next one; None for what they do not tell.

    Attributes:
        near_convergence: Whether the last SCF was near: |dE| < 3e-3 Eh, MaxP < 1e-2 and RMSP < 1e-3 in its last
            iteration.
        memory_asked_mb: MB for each process, as in "Please increase MaxCore to more than: 289 MB".
        error_in: The program that ORCA's error end names, such as GTOInt.
        n_gradients: Number of Cartesian gradients: one for each finished cycle of an optimisation.
    """

    near_convergence: bool | None = None
    memory_asked_mb: int | None = None
    error_in: str | None = None
    n_gradients: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what is known, as JSON values."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "AttemptEvidence":
        """Return what ``to_json`` gave; keys that are not known (those of a later version) are left out."""
        return cls(**{field.name: raw[field.name] for field in fields(cls) if field.name in raw})


def read_evidence(output_file: Path) -> AttemptEvidence:
    """Read what an output tells for the next attempt.

    Args:
        output_file: An output of ORCA 3 to 6.1, gzipped or not, or a job folder.

    Returns:
        What it tells. This function raises nothing, and needs bounded memory.
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
    """Return whether the last iteration of the last SCF was near convergence, None where it cannot be told."""
    # The last table alone counts. That of TRAH has no change of the density, so it tells nothing.
    rows = (last_scf(tail) or [[]])[-1]
    if not rows:
        return None
    energy, largest, rms = rows[-1].change, rows[-1].largest_density_change, rows[-1].rms_density_change
    if energy is None or largest is None or rms is None:
        return None
    if len(rows) == 1 and energy == 0.0:
        # The first iteration has no change of the energy: there was none before it.
        return None
    if not all(map(math.isfinite, (energy, largest, rms))):
        return False
    return abs(energy) < _NEAR_ENERGY and abs(largest) < _NEAR_LARGEST and abs(rms) < _NEAR_RMS
