"""The classes of failure: why an attempt gave no result."""

from enum import StrEnum


class FailureClass(StrEnum):
    """Why an attempt failed. Those that an output tells have the name of its termination."""

    SCF_NOT_CONVERGED = "scf_not_converged"
    OPT_NOT_CONVERGED = "opt_not_converged"
    UNPHYSICAL = "unphysical"
    OUT_OF_MEMORY = "out_of_memory"
    INPUT_ERROR = "input_error"
    DISK_FULL = "disk_full"
    MPI_ERROR = "mpi_error"
    ABORTED = "aborted"
    """Any other error end of ORCA, also a crash."""
    TRUNCATED = "truncated"
    """The output has no end, and the engine ended by itself without an error code."""
    TIMEOUT = "timeout"
    INPUT_REFUSED = "input_refused"
    """No input was written: the structure and the settings do not go together."""
    NOT_WRITTEN = "not_written"
    """The job folder could not be written (disk full, no permission)."""
    NOT_STARTED = "not_started"
    """The engine, or the payload, could not be started."""
    SETUP_FAILED = "setup_failed"
    """The campaign's setup_func raised; nothing was run."""
    LOST = "lost"
    """The process or its node vanished."""
