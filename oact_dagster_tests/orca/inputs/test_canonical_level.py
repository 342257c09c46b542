"""Spelling makes no other level of theory."""

import dataclasses
from typing import Any

import pytest

from oact_dagster.orca.inputs.canonical_level import canonical_level
from oact_dagster.orca.inputs.writer import InputSettings

OMOL = {
    "functional": "wB97M-V",
    "actinide_basis": "ma-def-TZVP",
    "actinide_ecp": "def-ECP",
    "non_actinide_basis": "def2-TZVPD",
}


def test_the_templates_own_values_may_be_written_out() -> None:
    assert canonical_level(InputSettings()) == OMOL
    spelled = InputSettings(
        functional="WB97M-v",
        actinide_basis="MA-DEF-TZVP",
        actinide_ecp="defecp",
        non_actinide_basis="DEF2-tzvpd",
    )
    assert canonical_level(spelled) == OMOL
    assert canonical_level(InputSettings(simple_input="x2c"))["actinide_basis"] is None
    assert canonical_level(InputSettings(simple_input="x2c"))["actinide_ecp"] is None


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({"functional": "pbe0   d4"}, {"functional": "PBE0 d4"}),
        ({"functional": "PBE0 D4"}, {"functional": "PBE0 d4"}),
        ({"functional": "Mine"}, {"functional": "mine"}),
        ({"actinide_ecp": "sk-mcdhf-rsc"}, {"actinide_ecp": "SK-MCDHF-RSC"}),
        ({"actinide_ecp": "My-ECP"}, {"actinide_ecp": "my-ecp"}),
        ({"non_actinide_basis": "CC-PVTZ-PP"}, {"non_actinide_basis": "cc-pvtz-pp"}),
        ({"actinide_basis": "/Sets/U.bas"}, {"actinide_basis": "/Sets/U.bas"}),
    ],
)
def test_names_and_files(changes: dict[str, Any], level: dict[str, str]) -> None:
    assert canonical_level(dataclasses.replace(InputSettings(), **changes)) == OMOL | level
