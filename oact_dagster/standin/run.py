"""A run of the stand-in, in ORCA's order: read the input, refuse or compute it, print as it goes."""

import os
import socket
import sys
import time
from io import TextIOWrapper
from pathlib import Path
from typing import Final

from oact_dagster.standin.input_reader import InputError, InputRequest, read_input
from oact_dagster.standin.surrogate import Surrogate, surrogate_of

ERROR_TERMINATION: Final = 64
"""Exit code of a run that ends in an error. Like ORCA's, it is not zero."""

_NOT_ORCA: Final = "NOT ORCA: GFN2-xTB by tblite in ORCA's format; the numbers mean nothing for chemistry"


def main(arguments: list[str]) -> int:
    """Run the input file in the first argument; the others, which ORCA passes to mpirun, are ignored.

    Returns the exit code: 0, 1 without tblite, 64 for an error termination.
    """
    started = time.perf_counter()
    if isinstance(sys.stdout, TextIOWrapper):
        # Write the output line by line, and let the echo reproduce any bytes of the input.
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", line_buffering=True)
    if not arguments:
        print("This program requires the name of a parameterfile as argument\nFor example ORCA TEST.INP")
        return ERROR_TERMINATION
    path = Path(arguments[0])
    try:
        text = _decoded(path.read_bytes())
    except OSError as error:
        print(f"ERROR: cannot read the input file {path}: {error.strerror}\n  .... aborting the run")
        return ERROR_TERMINATION
    understood = _understand(text)
    _set_threads(1 if isinstance(understood, str) else understood[0].n_cores)
    try:
        # Imported here, because tblite's library reads the number of threads when it is loaded.
        from oact_dagster.standin import report
        from oact_dagster.standin.calculation import Calculation
        from oact_dagster.standin.engine import TBLITE_VERSION
    except ImportError as error:
        print(
            f"the stand-in engine needs tblite ({error}): pip install 'oact-dagster[demo]'", file=sys.stderr
        )
        return 1
    print(
        report.program_banner(
            TBLITE_VERSION, socket.gethostname(), os.getpid(), str(Path.cwd()), time.ctime()
        )
    )
    if isinstance(understood, str):
        print(report.warnings([_NOT_ORCA]))
        print(report.echo(path.name, text))
        print(report.input_error(understood))
        return ERROR_TERMINATION
    job, surrogate = understood
    print(report.warnings([_NOT_ORCA, f"really computed: {surrogate.description()}"]))
    print(report.echo(path.name, text))
    return 0 if Calculation(job, surrogate, path, started).run() else ERROR_TERMINATION


def _understand(text: str) -> tuple[InputRequest, Surrogate] | str:
    """Return the job and the molecule to be computed, or why the input is refused."""
    try:
        job = read_input(text)
        return job, surrogate_of(job)
    except InputError as error:
        return str(error)


def _decoded(content: bytes) -> str:
    """Return the input as text that can be echoed byte for byte, without a BOM and with plain line ends."""
    return content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").replace("\r\n", "\n")


def _set_threads(n_cores: int) -> None:
    """Let tblite use as many threads as the input asks for, up to the cores available to this process."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(min(n_cores, available))
    # Let idle threads sleep. By default they spin, which doubles the CPU time for small molecules.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
