"""The level of theory in one canonical spelling: settings that ORCA treats alike become the same text."""

from typing import Any

from oact_dagster.orca.inputs import potentials
from oact_dagster.orca.inputs.basis import is_file, known_basis
from oact_dagster.orca.inputs.functionals import known_functional
from oact_dagster.orca.inputs.settings import InputSettings


def canonical_level(settings: InputSettings) -> dict[str, Any]:
    """Return functional, bases and core potential as the tables spell them.

    ORCA ignores case, the template supplies a basis or potential that is left out, and some potentials have several
    names. None of that changes the level of theory.

    Returns:
        ``functional``, ``actinide_basis``, ``actinide_ecp`` and ``non_actinide_basis``. A name that is not in the
        tables is in lower case. A file is its path as given; comparing its content is up to the caller.
    """
    template = settings.template
    ecp = settings.actinide_ecp or template.actinide_ecp
    return {
        "functional": " ".join(
            known_functional(word) or word.lower() for word in settings.functional.split()
        ),
        "actinide_basis": _basis(settings.actinide_basis or template.actinide_basis),
        "actinide_ecp": ecp and (potentials.canonical(ecp) or ecp.lower()),
        "non_actinide_basis": _basis(settings.non_actinide_basis),
    }


def _basis(name: str | None) -> str | None:
    if name is None or is_file(name):
        return name
    known = known_basis(name)
    return known.name if known else name.lower()
