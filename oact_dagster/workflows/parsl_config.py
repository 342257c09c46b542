"""Parsl's configuration for one node."""

import importlib.util
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from oact_dagster.launchers.parsl.config import LOOPBACK, NOT_INSTALLED, worker_command

if TYPE_CHECKING:
    from parsl.config import Config


def build_parsl_config_flux(
    max_workers: int = 4,
    cores_per_worker: int = 16,
    conda_env: str | None = None,
    conda_base: str | None = None,
    ld_library_path: str | None = None,
) -> "Config":
    """A configuration that runs several calculations at once on this node, one per worker.

    The node needs ``max_workers`` times ``cores_per_worker`` cores. The old documentation also multiplies by
    ``n_cores``, but a calculation uses only the cores of its worker.

    Args:
        max_workers: calculations at once.
        cores_per_worker: cores of each.
        conda_env: conda environment to activate in the workers, if any.
        conda_base: folder where conda is installed; None: the one on PATH.
        ld_library_path: prepended to the existing value.

    Raises:
        ImportError: Parsl is not installed.
        ValueError: a number is below 1.
    """
    if importlib.util.find_spec("parsl") is None:
        raise ImportError(NOT_INSTALLED)
    if max_workers < 1 or cores_per_worker < 1:
        raise ValueError("max_workers and cores_per_worker must be 1 or more")
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    return Config(
        executors=[
            HighThroughputExecutor(
                label="flux_htex",
                address=LOOPBACK,
                launch_cmd=worker_command(),
                cores_per_worker=cores_per_worker,
                max_workers_per_node=max_workers,
                cpu_affinity="block",
                provider=LocalProvider(  # type: ignore[no-untyped-call]
                    init_blocks=1,
                    max_blocks=1,
                    worker_init="\n".join(_worker_lines(conda_env, conda_base, ld_library_path)),
                ),
            )
        ],
        retries=0,
    )


def _worker_lines(
    conda_env: str | None, conda_base: str | None, ld_library_path: str | None
) -> Iterator[str]:
    """Lines of bash that set up the environment of the workers."""
    if conda_base is not None:
        yield f". {shlex.quote(f'{conda_base}/etc/profile.d/conda.sh')}"
    elif conda_env is not None:
        yield 'eval "$("${CONDA_EXE:-conda}" shell.bash hook)"'
    if conda_env is not None:
        yield f"conda activate {shlex.quote(conda_env)}"
    if ld_library_path is not None:
        yield f"export LD_LIBRARY_PATH={shlex.quote(ld_library_path)}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
    # ORCA manages its own processes; additional threads would only slow them down.
    yield "export OMP_NUM_THREADS=1"
    yield "export JAX_PLATFORMS=cpu"
