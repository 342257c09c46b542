"""How a large output ended, read from its first and last bytes alone.

That is enough for most runs that ended normally: the head has the input and the first SCF, the tail has the last
energy and whether the optimisation converged. If it may not be enough, the answer is None and the whole file has to
be read.
"""

from pathlib import Path
from typing import Final

from oact_dagster.orca.outputs.file_blocks import both_ends
from oact_dagster.orca.outputs.scan import OutputScan

_END: Final = 256 << 10
_SAYS_HOW_IT_WENT: Final = (b"HURRAY", b"The optimization did not converge but reached")


def scan_both_ends(file: Path) -> OutputScan | None:
    """Scan the first and the last 256 KB of a larger output.

    The scan's facts about the termination hold for the whole file; None if that is not certain.
    """
    ends = both_ends(file, _END)
    if ends is None:
        return None
    head, tail = ends
    tail = tail[tail.find(b"\n") + 1 :]
    scan = OutputScan()
    scan.finish(head[: head.rfind(b"\n") + 1])
    echo = scan.echo
    if echo is None or not echo.complete or echo.several_jobs or scan.first_scf_energy is None:
        return None
    if not echo.one_evaluation and not any(words in tail for words in _SAYS_HOW_IT_WENT):
        return None
    only_tail = OutputScan()
    only_tail.finish(tail)
    if only_tail.normal_end is None or not only_tail.energies or only_tail.version is not None:
        return None
    only_tail.echo = echo
    only_tail.symbols = scan.symbols or only_tail.symbols
    only_tail.first_scf_energy = scan.first_scf_energy
    if not only_tail.energy_scf_line:
        if not echo.one_evaluation:
            return None
        only_tail.energy_scf_line = scan.scf_line
        only_tail.scf_energy = scan.scf_energy
    if scan.opt_cycles and only_tail.opt_converged is None:
        only_tail.opt_converged = any(words in tail for words in _SAYS_HOW_IT_WENT[:1])
    return only_tail
