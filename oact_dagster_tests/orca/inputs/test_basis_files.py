"""Basis files: what is in them, and what is refused for it."""

import os
from pathlib import Path

import pytest

from oact_dagster.errors import InputRefused
from oact_dagster.orca.geometry import parse_geometry
from oact_dagster.orca.inputs import basis_files
from oact_dagster.orca.inputs.basis_files import BasisFile, read_basis_file
from oact_dagster.orca.inputs.writer import InputSettings, check_settings, render_input
from oact_dagster.orca.structure import Structure

GAMESS = """\
! a comment
$DATA

OXYGEN
S   3
1   130.7   0.154
2   23.8    0.53
3   6.4     0.44
L   1
1   0.5     1.0   1.0

U
S 1
 1 2.0D+00 1.0
$END
"""
GAMESS_ECP = GAMESS + "$ECP\nU-ECP GEN 60 5\n1 ----- h-ul potential -----\n 0.0 2 1.0\n$END\n"
ORCA = """\
NewGTO O
S 1
 1 2.0 1.0
end
NewECP U
  N_core 60
  lmax f
  s 1
   1 14.49 178.4 2
end
"""
GAUSSIAN = """\
****
S     0
S   2   1.00
      10.0   0.5
      1.0    0.5D0
****
I     0
SP 1 1.00
 2.0 1.0 1.0
I 1 1.00
 2.0 1.0
****

I 0
I-ECP 3 28
f potential
1
2 1.0 0.0
"""
NWCHEM = "basis\nO S\n 10.0 0.5\n 1.0 0.5\nend\n"


def write(tmp_path: Path, text: str | bytes) -> str:
    file = tmp_path / "own.bas"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(file)


@pytest.mark.parametrize(
    ("text", "elements", "potentials"),
    [
        (GAMESS, "O U", ""),
        (GAMESS_ECP, "O U", "U"),
        (GAMESS.replace("\n", "\r\n"), "O U", ""),
        (ORCA, "O", "U"),
        (GAUSSIAN, "S I", "I"),
    ],
    ids=["GAMESS-US", "with potential", "CRLF", "ORCA's input", "Gaussian"],
)
def test_what_a_file_has(tmp_path: Path, text: str, elements: str, potentials: str) -> None:
    found = read_basis_file(write(tmp_path, text))
    assert found is not None
    assert (found.problem, found.recognised) == (None, True)
    assert found.elements == set(elements.split())
    assert found.potentials == set(potentials.split())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        (" \n\n", "it is empty"),
        (b"\x7fELF\0\0S 3\n1 2.0 1.0\n", "it is binary"),
        ("basis", "it holds no basis set"),
        ("H 0\n", "it holds no basis set"),
        ("3\nwater\nO 0 0 0\nH 0 0 1\nH 0 1 0\n", "it holds no basis set"),
    ],
)
@pytest.mark.parametrize("elements", [(), ("O", "H")])
def test_what_is_no_basis_file(
    tmp_path: Path, text: str | bytes, problem: str, elements: tuple[str, ...]
) -> None:
    file = write(tmp_path, text)
    with pytest.raises(InputRefused) as refusal:
        check_settings(InputSettings(non_actinide_basis=file), elements)
    assert str(refusal.value).startswith(
        f"non_actinide_basis {file} is not a basis file: {problem}; expected ORCA's"
    )
    assert refusal.value.kind == "not a basis file"
    assert len(str(refusal.value).splitlines()) == 1


def test_a_folder_is_no_basis_file(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="it is not a regular file"):
        check_settings(InputSettings(non_actinide_basis=f"{tmp_path}/"), ["O"])


def test_a_file_that_is_not_there_is_for_the_campaign_to_say(tmp_path: Path) -> None:
    assert read_basis_file(str(tmp_path / "none.bas")) is None
    assert check_settings(InputSettings(non_actinide_basis=str(tmp_path / "none.bas")), ["O"]) == []


@pytest.mark.parametrize(("text", "has"), [(GAMESS, "O, U"), (GAUSSIAN, "S, I")])
def test_an_element_without_a_block(tmp_path: Path, text: str, has: str) -> None:
    file = write(tmp_path, text)
    for what, element in (("actinide_basis", "Np"), ("non_actinide_basis", "H")):
        with pytest.raises(InputRefused) as refusal:
            check_settings(InputSettings(**{what: file}), [element])  # type: ignore[arg-type]
        assert str(refusal.value).startswith(
            f"{what} {file} has no functions for {element} (it covers {has});"
        )
        assert refusal.value.kind == "basis without functions for an element"
    # It serves the actinides alone.
    assert check_settings(InputSettings(actinide_basis=file), ["H"]) == []


def test_a_format_that_is_not_known_is_only_doubted(tmp_path: Path) -> None:
    file = write(tmp_path, NWCHEM)
    assert check_settings(InputSettings(non_actinide_basis=file), ["O"]) == [
        f"non_actinide_basis {file} is in an unknown format; cannot check whether it has functions for O"
    ]


def test_no_input_is_written_without_a_basis_for_each_element(tmp_path: Path) -> None:
    file = tmp_path / "own.bas"
    file.write_text("URANIUM\nS 1\n  1 1.0 1.0\n")
    settings = InputSettings(actinide_basis=str(file))
    uranium, thorium = (Structure(parse_geometry(f"{metal} 0 0 0"), 4, 0) for metal in ("U", "Th"))
    with pytest.raises(InputRefused, match="has no functions for Th"):
        render_input(thorium, settings)
    assert f'GTOName "{file}"' in render_input(uranium, settings)
    file.write_text("URANIUM\nS 1\n  1 1.0 1.0\nTHORIUM\nS 1\n  1 1.0 1.0\n")
    assert f'GTOName "{file}"' in render_input(thorium, settings)


@pytest.mark.parametrize("simple_input", ["x2c", "dk3"])
def test_a_potential_in_a_file_with_a_relativistic_hamiltonian(tmp_path: Path, simple_input: str) -> None:
    file = write(tmp_path, GAMESS_ECP)
    settings = InputSettings(simple_input=simple_input, actinide_basis=file, non_actinide_basis=file)
    with pytest.raises(InputRefused) as refusal:
        check_settings(settings, ["U", "O"])
    assert str(refusal.value).startswith(
        f"actinide_basis {file} has a core potential for U, but {simple_input} treats all electrons"
    )
    assert refusal.value.kind == "core potential with a relativistic Hamiltonian"
    assert check_settings(InputSettings(actinide_basis=file), ["U", "O"]) == []


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    parse = basis_files._parse

    def counted(text: str) -> BasisFile:
        reads.append(text)
        return parse(text)

    monkeypatch.setattr(basis_files, "_parse", counted)
    file = write(tmp_path, GAMESS)
    for _ in range(1000):
        check_settings(InputSettings(actinide_basis=file), ["U", "O"])
    assert len(reads) == 1
    write(tmp_path, GAUSSIAN)
    os.utime(file, ns=(1, 1))
    with pytest.raises(InputRefused, match="has no functions for U"):
        check_settings(InputSettings(actinide_basis=file), ["U", "O"])
    assert len(reads) == 2
