"""Guessing the columns of somebody's CSV."""

from importlib import resources
from pathlib import Path

import pytest

from oact_dagster.errors import IntakeRefused
from oact_dagster.intake.intake import guess_columns, take_in
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.intake.intake_samples import HYDROXYL, WATER, campaign_on, row, write_csv


def table(path, **columns):
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return write_csv(path, rows, list(columns))


def test_the_demo_csv():
    guessed = guess_columns(Path(str(resources.files("oact_dagster.demo") / "structures.csv")))
    assert (guessed.geometry, guessed.charge, guessed.spin) == ("aligned_csd_core", "charge", "uhf")
    assert guessed.annotate == ("name", "metal_ox")
    assert [key for key, _ in guessed.reasons] == [
        "geometry_column",
        "charge_column",
        "spin_column",
        "annotate",
    ]
    assert all(reason and "\n" not in reason for _, reason in guessed.reasons)


def test_names_of_ones_own(tmp_path):
    path = table(
        tmp_path / "a.csv",
        label=["water", "hydroxyl"],
        smiles=["O", "[OH]"],
        XYZ=[f"3\n\n{WATER}", HYDROXYL],
        total_charge=["0.0", "0.0"],
        n_unpaired=["0.0", "1.0"],
    )
    guessed = guess_columns(path)
    assert (guessed.geometry, guessed.charge, guessed.spin) == ("XYZ", "total_charge", "n_unpaired")
    assert guessed.annotate == ("label",)


def test_multiplicities_beside_unpaired_electrons_are_passed_over(tmp_path):
    path = table(
        tmp_path / "a.csv",
        g=[WATER, HYDROXYL],
        charge=["0", "0"],
        spin_multiplicity=["1", "2"],
        unpaired=["0", "1"],
    )
    assert guess_columns(path).spin == "unpaired"


@pytest.mark.parametrize("name", ["spin_multiplicity", "Multiplicity", "mult"])
def test_multiplicities_alone_are_never_taken_for_unpaired_electrons(tmp_path, name):
    path = table(tmp_path / "a.csv", **{"g": [WATER, HYDROXYL], "charge": ["0", "0"], name: ["1", "2"]})
    with pytest.raises(
        IntakeRefused, match=f"{name!r} holds multiplicities, by its name: add a column uhf = {name} - 1"
    ):
        guess_columns(path)


@pytest.mark.parametrize("name", ["spin", "uhf"])
def test_multiplicities_under_another_name_are_known_by_their_parity(tmp_path, name):
    path = table(tmp_path / "a.csv", **{"g": [WATER, HYDROXYL], "charge": ["0", "0"], name: ["1", "2"]})
    with pytest.raises(IntakeRefused, match="the wrong parity for unpaired electrons"):
        guess_columns(path)


def test_a_spin_column_that_fits_is_taken_for_unpaired_electrons(tmp_path):
    path = table(tmp_path / "a.csv", g=[WATER, HYDROXYL], charge=["0", "0"], spin=["0", "1"])
    guessed = guess_columns(path)
    assert guessed.spin == "spin"
    assert dict(guessed.reasons)["spin_column"].startswith("fits the electrons of 100% of the first 2 rows")


def test_the_pair_of_columns_that_fits_the_electrons_is_taken(tmp_path):
    path = table(
        tmp_path / "a.csv",
        xtb_charge=["0", "1"],
        xtb_uhf=["1", "0"],
        g=[WATER, HYDROXYL],
        my_charge=["1", "0"],
        my_uhf=["1", "1"],
    )
    guessed = guess_columns(path)
    assert (guessed.charge, guessed.spin) == ("my_charge", "my_uhf")


def test_some_bad_rows_do_not_mislead(tmp_path):
    rows = [row(number) for number in range(10)]
    rows[3] |= {"charge": "", "aligned_csd_core": "?"}
    guessed = guess_columns(write_csv(tmp_path / "a.csv", rows))
    assert (guessed.geometry, guessed.charge, guessed.spin) == ("aligned_csd_core", "charge", "uhf")


def test_without_charge_and_spin_it_says_that_they_count_as_nought(tmp_path):
    guessed = guess_columns(table(tmp_path / "a.csv", geometry=[WATER, HYDROXYL]))
    assert (guessed.charge, guessed.spin, guessed.annotate) == (None, None, ())
    assert dict(guessed.reasons)["charge_column"].endswith("0 for all")
    assert dict(guessed.reasons)["spin_column"].endswith("0 for all, which fits 50% of the first rows")


def test_without_a_geometry_the_columns_are_listed(tmp_path):
    path = table(tmp_path / "a.csv", smiles=["O"], charge=["0"])
    with pytest.raises(
        IntakeRefused, match=r"no column holds geometries .*; the columns are: smiles, charge$"
    ):
        guess_columns(path)
    path = table(tmp_path / "b.csv", my_xyz=["O 0 0"], charge=["0"])
    with pytest.raises(IntakeRefused, match="the first value of 'my_xyz' does not: line 1 reads 'O 0 0'"):
        guess_columns(path)


def test_unpaired_electrons_that_fit_only_by_chance_are_refused(tmp_path):
    path = table(tmp_path / "a.csv", g=[WATER, HYDROXYL], charge=["0", "0"], uhf=["0", "0"])
    with pytest.raises(IntakeRefused, match="'uhf', as unpaired electrons, fits the electrons of only 50%"):
        guess_columns(path)


@pytest.mark.parametrize(("text", "told"), [("", "is empty"), ("a,b\n", "has a header but no rows")])
def test_nothing_to_look_at(tmp_path, text, told):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(IntakeRefused, match=told):
        guess_columns(path)
    with pytest.raises(IntakeRefused, match="no such file"):
        guess_columns(tmp_path / "nowhere.csv")


def test_stated_columns_are_taken_and_what_does_not_fit_is_a_warning(tmp_path):
    path = table(
        tmp_path / "a.csv", g=[WATER, HYDROXYL], q=["0", "0"], n=["x", ""], charge=["0", "0"], uhf=["0", "1"]
    )
    guessed = guess_columns(path, {"charge_column": "q"})
    assert (guessed.geometry, guessed.charge, guessed.spin, guessed.warnings) == ("g", "q", "uhf", ())
    assert dict(guessed.reasons)["charge_column"] == "given"
    guessed = guess_columns(path, {"charge_column": None, "spin_column": None})
    assert (guessed.charge, guessed.spin) == (None, None)
    assert guessed.warnings == (
        "charge_column null and spin_column null (unpaired electrons) fit the electrons of only 50% of the first 2 "
        "rows; the other rows will be rejected",
    )
    guessed = guess_columns(path, {"charge_column": "n"})
    assert (guessed.charge, guessed.spin) == ("n", "uhf")
    assert guessed.warnings == ("charge_column: only 0 of the first 2 values of 'n' are whole numbers",)
    guessed = guess_columns(path, {"geometry_column": "q"})
    assert (guessed.geometry, guessed.charge, guessed.spin) == ("q", "charge", "uhf")
    assert guessed.warnings[0].startswith(
        "geometry_column: only 0 of the first 2 values of 'q' are geometries; "
    )


def test_a_column_is_not_taken_twice(tmp_path):
    path = table(tmp_path / "a.csv", g=[WATER, HYDROXYL], charge=["0", "1"], uhf=["0", "1"])
    guessed = guess_columns(path, {"charge_column": "uhf"})
    assert (guessed.charge, guessed.spin) == ("uhf", None)
    assert guess_columns(path, {"spin_column": "charge"}).charge is None


def test_a_stated_column_must_be_there(tmp_path):
    path = table(tmp_path / "a.csv", g=[WATER], charge=["0"])
    for key in ("geometry_column", "charge_column", "spin_column"):
        option = "--" + key.replace("_", "-")
        with pytest.raises(IntakeRefused, match=rf"no column 'z' \({option}\); the columns are: g, charge$"):
            guess_columns(path, {key: "z"})


@pytest.mark.parametrize("name", ["mult", "uhf", "n"])
def test_a_stated_column_of_multiplicities_is_refused(tmp_path, name):
    path = table(tmp_path / "a.csv", **{"g": [WATER, HYDROXYL], "charge": ["0", "0"], name: ["1", "2"]})
    with pytest.raises(IntakeRefused, match=f"{name!r} holds multiplicities") as refused:
        guess_columns(path, {"spin_column": name})
    new = "uhf_minus_1" if name == "uhf" else "uhf"
    assert f't["{new}"] = pd.to_numeric(t["{name}"], errors="coerce") - 1' in str(refused.value)
    assert "None" not in str(refused.value)


def test_a_stated_column_that_can_be_no_multiplicity_is_taken(tmp_path):
    # With 0 in it, or where another column of charges makes it fit.
    path = table(tmp_path / "a.csv", g=[WATER, HYDROXYL], charge=["0", "0"], n=["1", "0"])
    guessed = guess_columns(path, {"spin_column": "n"})
    assert guessed.spin == "n" and "of only 0% of the first 2 rows" in guessed.warnings[0]
    path = table(tmp_path / "b.csv", g=[WATER, HYDROXYL], charge=["1", "1"], n=["1", "2"])
    guessed = guess_columns(path, {"spin_column": "n", "charge_column": None})
    assert guessed.spin == "n" and "charge_column null and spin_column n" in guessed.warnings[0]


def test_a_column_that_is_there_twice_is_not_guessed(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        f'name,label,charge,uhf,xyz,name,charge,q\na,b,5,0,"{WATER}",c,5,0\nd,e,5,1,"{HYDROXYL}",f,5,0\n'
    )
    guessed = guess_columns(path)
    assert (guessed.geometry, guessed.charge, guessed.spin) == ("xyz", "q", "uhf")
    assert guessed.annotate == ("label",)
    # What is guessed is what the intake takes.
    campaign = campaign_on(
        path, geometry_column="xyz", charge_column="q", spin_column="uhf", annotate=guessed.annotate
    )
    with Ledger(campaign.ledger, create=True) as ledger:
        assert take_in(campaign, ledger).taken == 2
    with pytest.raises(IntakeRefused, match=r"the column 'charge' \(--charge-column\) appears 2 times"):
        guess_columns(path, {"charge_column": "charge"})
    path.write_text(path.read_text().replace(",label,", ",xyz,"))
    with pytest.raises(IntakeRefused, match="more than once are not read: charge, name, xyz; the columns"):
        guess_columns(path)
