"""Which molecule is computed in the place of the one asked for, without any engine."""

import pytest

from oact_dagster.standin.input_reader import InputError, read_input
from oact_dagster.standin.surrogate import electron_count, surrogate_of
from oact_dagster_tests.standin.running import URANYL, WATER, job_input


def test_without_f_elements_the_molecule_is_computed_as_it_is() -> None:
    triplet = surrogate_of(read_input(job_input(WATER, multiplicity=3)))
    assert (triplet.numbers, triplet.charge, triplet.unpaired) == ((8, 1, 1), 0, 2)
    assert triplet.replacements == ()


def test_uranyl() -> None:
    job = read_input(job_input(URANYL, charge=2, more="# metal_ox: 6"))
    assert electron_count(job) == 106
    surrogate = surrogate_of(job)
    assert (surrogate.numbers, surrogate.charge, surrogate.unpaired) == ((60, 8, 8), -1, 0)
    assert surrogate.description() == "U replaced by Nd, charge -1, 0 unpaired electrons"


@pytest.mark.parametrize(
    ("atoms", "charge", "multiplicity", "oxidation_state", "expected"),
    [
        # Am3+: its six f electrons are in the core, the three valence electrons are gone.
        ("Am 0 0 0", 3, 7, 3, ((63,), 3, 0)),
        # U5+: one f electron in the real molecule; the pair of centres shifts the charge twice.
        ("U 0 0 0\nU 0 0 9", 10, 3, 5, ((60, 60), 6, 0)),
        ("Np 0 0 0\nO 0 0 1.8\nO 0 0 -1.8", 2, 2, 6, ((61, 8, 8), -1, 0)),
        ("U 0 0 0\nO 0 0 1.8\nO 0 0 -1.8", 1, 2, 5, ((60, 8, 8), -1, 0)),
        # With an oxidation state that leaves an odd number of valence electrons, one stays unpaired.
        ("U 0 0 0", 4, 3, 3, ((60,), 4, 1)),
        # Lanthanides keep their charge.
        ("Gd 0 0 0", 3, 8, None, ((64,), 3, 0)),
        ("Eu 0 0 0", 2, 8, None, ((63,), 2, 1)),
        ("Lr 0 0 0", 3, 1, 3, ((71,), 3, 0)),
        ("Ac 0 0 0", 3, 1, 3, ((57,), 3, 0)),
    ],
)
def test_f_elements(
    atoms: str,
    charge: int,
    multiplicity: int,
    oxidation_state: int | None,
    expected: tuple[tuple[int, ...], int, int],
) -> None:
    more = "" if oxidation_state is None else f"# metal_ox: {oxidation_state}"
    surrogate = surrogate_of(read_input(job_input(atoms, "EnGrad", charge, multiplicity, more)))
    assert (surrogate.numbers, surrogate.charge, surrogate.unpaired) == expected


@pytest.mark.parametrize(
    ("atoms", "charge", "multiplicity", "reason"),
    [
        (WATER, 0, 2, r"multiplicity \(2\) is even and number of electrons \(10\) is even -> impossible"),
        (WATER, 1, 1, r"multiplicity \(1\) is odd and number of electrons \(9\) is odd -> impossible"),
        (WATER, 0, 13, r"multiplicity \(13\) is odd and number of electrons \(10\) is even -> impossible"),
        (WATER, 12, 1, r"number of electrons \(-2\)"),
        (URANYL, 2, 1, "add the comment line '# metal_ox: 6'"),
        ("Ra 0 0 0", 2, 1, "Ra: GFN2-xTB is not available for this element"),
    ],
)
def test_refused(atoms: str, charge: int, multiplicity: int, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        surrogate_of(read_input(job_input(atoms, charge=charge, multiplicity=multiplicity)))
