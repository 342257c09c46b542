"""Details of single structures beyond the tables, for small campaigns."""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from oact_dagster.errors import GeometryError
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import FAILED_STATUSES, Status, StructureRecord
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.outputs.convergence import read_convergence
from oact_dagster.orca.outputs.reader import read_output, tail
from oact_dagster.pictures.convergence import convergence_picture
from oact_dagster.pictures.geometry import geometry_picture

MOST_STRUCTURES: Final = 1_000
"""A larger campaign's report has no pictures of single structures: they would make it too large to mail."""

_AT_ONCE: Final = 100


def details(
    ledger: LedgerReader, *, optimised: bool = False, progress: Callable[[int], None] | None = None
) -> Iterator[str]:
    """Pictures of every structure's convergence and geometry, and the last lines of failures, as JSON in parts.

    They are read from the job folders that exist.

    Args:
        ledger: of a campaign of at most :data:`MOST_STRUCTURES`.
        optimised: whether geometries were optimised; if so, the last ones are shown, too.
        progress: called with the number of structures read so far.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    indices = ledger.structures.indices()
    number = 0
    yield "{"
    while chunk := list(islice(indices, _AT_ONCE)):
        for index, structure in sorted(ledger.structures.of(chunk).items()):
            comma = ", " if number else ""
            yield f'{comma}"{index}": {json.dumps(_detail(structure, optimised=optimised))}'
            number += 1
        if progress is not None:
            progress(number)
    yield "}"


def _detail(structure: StructureRecord, *, optimised: bool) -> dict[str, object]:
    folder = None if structure.job_dir is None else Path(structure.job_dir)
    found: dict[str, object] = {"pictures": list(_pictures(structure, folder, optimised=optimised))}
    if folder is not None and structure.status in FAILED_STATUSES and (lines := tail(folder)):
        found["tail"] = lines
    return found


def _pictures(
    structure: StructureRecord, folder: Path | None, *, optimised: bool
) -> Iterator[tuple[str, str]]:
    if folder is not None and structure.status in (Status.COMPLETED, *FAILED_STATUSES):
        convergence = read_convergence(folder)
        if convergence.scf or convergence.energies:
            yield "Convergence", convergence_picture(convergence)
    try:
        geometry = parse_geometry(structure.geometry)
    except GeometryError:
        return
    yield "Geometry of the CSV", geometry_picture(geometry.symbols, geometry.coordinates)
    if optimised and folder is not None and structure.status is Status.COMPLETED:
        output = read_output(folder)
        symbols, coordinates = output.symbols, output.coordinates
        if symbols is not None and coordinates is not None and len(symbols) == len(geometry.symbols):
            yield "Optimised geometry", geometry_picture(symbols, coordinates)
