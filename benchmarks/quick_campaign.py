"""A campaign of small structures, with an engine that returns at once."""

import resource
from pathlib import Path
from typing import Any

import yaml

# The engine prints an output whose echo contains the token, like ORCA's.
ENGINE = r"""#!/bin/sh
printf '  * O   R   C   A *\nProgram Version 6.1.0  -   RELEASE   -\n INPUT FILE\nNAME = orca.inp\n'
n=0; while IFS= read -r line; do n=$((n+1)); printf '|%3d> %s\n' $n "$line"; done < orca.inp
printf '                          ****END OF INPUT****\nSCF CONVERGED AFTER   9 CYCLES\n'
printf 'FINAL SINGLE POINT ENERGY       -76.000000000000\n'
printf 'CARTESIAN GRADIENT\n------------------\n\n   1   O   :   0.001 0.002 0.003\n\n'
printf 'Norm of the Cartesian gradient     ...    0.004\nRMS gradient ... 0.002\nMAX gradient ... 0.003\n'
printf '****ORCA TERMINATED NORMALLY****\nTOTAL RUN TIME: 0 days 0 hours 0 minutes 0 seconds 1 msec\n'
"""


def write_quick_campaign(folder: Path, structures: int, **settings: Any) -> None:
    """Write the campaign's CSV, its engine and its ``campaign.yaml``.

    Args:
        folder: Folder of the campaign.
        structures: Number of structures.
        **settings: Keys of ``campaign.yaml``.
    """
    engine = folder / "engine"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    with (folder / "structures.csv").open("w") as stream:
        stream.write("aligned_csd_core,charge,uhf\n")
        for number in range(structures):
            stream.write(f'"O 0 0 {number / 1e5:.6f}\nH 0.76 0 0.59\nH -0.76 0 0.59",0,0\n')
    values = {"csv": "structures.csv", "orca": {"command": str(engine), "n_cores": 1}, **settings}
    (folder / "campaign.yaml").write_text(yaml.safe_dump(values))


def cpu_s(who: int) -> float:
    """Return user plus system time of this process or its children (``resource.RUSAGE_…``), s."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime
