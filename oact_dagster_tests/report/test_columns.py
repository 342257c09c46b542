"""The columns of the report's tables as JSON, and how they are packed."""

import base64
import gzip
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oact_dagster.report.columns import Column, DerivedColumn, NumberColumn, WordColumn
from oact_dagster.report.page import packed


def read(column: Column) -> Any:
    return json.loads("".join(column.json_parts()))


def numbers(column: NumberColumn, *values: float | None) -> list[Any]:
    for value in values:
        column.add(value)
    return list(read(column)["values"])


def test_numbers_keep_the_digits_that_make_sense() -> None:
    assert numbers(NumberColumn("n", "n"), 3.0, -7, 2**40) == [3, -7, 2**40]
    assert numbers(NumberColumn("e", "e", "fixed", 6), -1234.567890123, 1e-9) == [-1234.56789, 0.0]
    assert numbers(NumberColumn("s", "s", "significant", 3), 12345.6, 0.00012345) == [12300.0, 0.000123]
    assert numbers(NumberColumn("t", "t", "duration"), 0.123, 99.96, 12345.6) == [0.1, 100.0, 12346]


def test_what_is_no_number_is_nothing() -> None:
    assert numbers(NumberColumn("n", "n"), None, math.nan, math.inf, 1) == [None, None, None, 1]
    assert numbers(NumberColumn("n", "n", steps=True), 5, None, 7, math.inf, 4) == [5, None, 2, None, -3]


def test_words_are_stored_once() -> None:
    column = WordColumn("w", "w")
    for word in ("b", "a", None, "b", "", "</script>"):
        column.add(word)
    found = read(column)
    assert (found["words"], found["codes"]) == (["b", "a", "</script>"], [0, 1, -1, 0, -1, 2])


def test_columns_without_rows() -> None:
    assert read(NumberColumn("n", "n"))["values"] == []
    assert read(WordColumn("w", "w"))["codes"] == []


def test_a_derived_column_names_the_two_that_it_is_made_of() -> None:
    found = read(DerivedColumn("c", "c", "wall", "cores", "*", 1 / 3600))
    assert (found["first"], found["second"], found["operation"]) == ("wall", "cores", "*")


def test_many_values_are_all_there() -> None:
    column = NumberColumn("n", "n")
    assert numbers(column, *range(25_001)) == list(range(25_001))


@given(st.lists(st.text(max_size=200), max_size=20))
def test_packed_text_comes_back_and_holds_nothing_that_html_reads(parts: list[str]) -> None:
    clean = [part.encode("utf-8", "replace").decode() for part in parts]
    letters = "".join(packed(clean))
    assert gzip.decompress(base64.b64decode(letters, validate=True)).decode() == "".join(clean)
    assert not set(letters) & set("<>&\"'")


@pytest.mark.parametrize("size", [0, 1, 196_607, 196_608, 1_000_003])
def test_packed_in_parts_is_one_text_of_letters(size: int) -> None:
    # What does not compress, so that there are many parts.
    text = "".join(chr(33 + (i * i * 7919 + i // 3) % 90) for i in range(size))
    letters = "".join(packed(text[start : start + 1000] for start in range(0, size, 1000)))
    assert gzip.decompress(base64.b64decode(letters, validate=True)).decode() == text
