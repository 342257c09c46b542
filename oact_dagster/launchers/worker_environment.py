"""Variables that calculations need where several of them share a node: no Dagster, no ledger."""

from collections.abc import Mapping
from typing import Final

UNBOUND_MPI: Final = {
    # Each mpirun believes that it is alone on the node and binds its ranks to the first cores: four ORCAs on 64
    # cores then share 16. Unbound, ranks stay on the cores of the worker that started them.
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    # It also counts its slots by whole cores of the node as it sees it, and starts nothing where a worker's cores are
    # hardware threads.
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
"""Open MPI 4 reads the first one of each pair, Open MPI 5 the other; other MPIs read none of them."""


def calculation_environment(given: Mapping[str, str], *, bound: bool) -> dict[str, str]:
    """The variables that are added to a calculation's environment.

    Args:
        given: by the user, whose word is the last one.
        bound: whether its worker keeps to cores of its own.
    """
    return {**(UNBOUND_MPI if bound else {}), **given}
