import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oact_dagster.errors import CsvError
from oact_dagster.intake import csv_rows
from oact_dagster.intake.csv_rows import CsvFile


def read(path: Path) -> tuple[tuple[str, ...], list[list[str]]]:
    with CsvFile(path) as file:
        return file.columns, [[field.decode() for field in row.fields] for row in file.rows()]


def lines_of(path: Path) -> list[int]:
    with CsvFile(path) as file:
        return [row.line for row in file.rows()]


def refusal(path: Path) -> str:
    with pytest.raises(CsvError) as caught, CsvFile(path) as file:
        for _ in file.rows():
            pass
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


field_text = st.text(alphabet=st.sampled_from('ab",\n 5é€\U0001f600'), max_size=12)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.integers(2, 4).flatmap(
        lambda width: st.lists(st.lists(field_text, min_size=width, max_size=width), min_size=1, max_size=8)
    ),
    ending=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    bom=st.booleans(),
    last_line_ended=st.booleans(),
    chunk=st.sampled_from([1, 2, 3, 7, 64, 1 << 20]),
)
def test_reads_back_what_the_csv_module_wrote(
    tmp_path, monkeypatch, table, ending, quoting, bom, last_line_ended, chunk
):
    monkeypatch.setattr(csv_rows, "_CHUNK_BYTES", chunk)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=ending, quoting=quoting)
    writer.writerow([f"column {place}" for place in range(len(table[0]))])
    starts = []
    for fields in table:
        starts.append(text.getvalue().count("\n") + 1)
        writer.writerow(fields)
    written = text.getvalue() if last_line_ended else text.getvalue().removesuffix(ending)
    path = tmp_path / "table.csv"
    path.write_bytes(written.encode("utf-8-sig" if bom else "utf-8"))

    columns, rows = read(path)

    assert columns == tuple(f"column {place}" for place in range(len(table[0])))
    assert rows == table
    assert lines_of(path) == starts


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(alphabet=st.sampled_from('ab",\n\r '), max_size=40), chunk=st.sampled_from([1, 5, 1 << 20])
)
def test_any_text_is_read_as_the_csv_module_reads_it_or_refused(tmp_path, monkeypatch, text, chunk):
    monkeypatch.setattr(csv_rows, "_CHUNK_BYTES", chunk)
    path = tmp_path / "table.csv"
    path.write_bytes(("x,y\n" + text).encode())
    try:
        _, rows = read(path)
    except CsvError:
        return
    expected = [
        fields
        for fields in csv.reader(io.StringIO("x,y\n" + text, newline=""), strict=True)
        # pandas skips blank lines, the csv module does not.
        if len(fields) > 1 or (fields and fields[0].strip(" \t"))
    ]
    assert rows == expected[1:]


def test_row_numbers_and_lines_are_those_of_pandas_and_of_an_editor(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('\n \na,b\n\n1,"two\nlines"\n\t\n3,4\n\n\n5,"x ""y"""\n\n')
    frame = pd.read_csv(path, dtype=str)
    with CsvFile(path) as file:
        assert file.columns == tuple(frame.columns)
        rows = list(file.rows())
    assert [row.number for row in rows] == list(frame.index)
    assert [[field.decode() for field in row.fields] for row in rows] == frame.to_numpy().tolist()
    text = path.read_text().splitlines()
    assert [text[row.line - 1][0] for row in rows] == ["1", "3", "5"]


def test_reading_can_begin_again_at_any_row(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "_CHUNK_BYTES", 16)
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b\r\n" + b"".join(b'%d,"q\r\n%d"\r\n' % (n, n) for n in range(50)))
    with CsvFile(path) as file:
        rows = list(file.rows())
        for start in (rows[0], rows[17], rows[49]):
            assert list(file.rows(start)) == rows[start.number :]


def test_a_quote_inside_an_unquoted_field_is_a_character(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('name,length\nbipy 5",2"\n"a",b"c"d\n')
    assert read(path)[1] == [['bipy 5"', '2"'], ["a", 'b"c"d']]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", ": is empty; "),
        (b"\xef\xbb\xbf", ": is empty; "),
        (b"\n\n  \n", ": is empty; "),
        (b'a,b\n1,"x\ny"\n1,2,3\n', ", line 4: the row that begins here has 3 fields and the header 2;"),
        (b"a,b\n1,2\n3\n", ", line 3: the row that begins here has 1 fields and the header 2;"),
        (
            b'a,b\n"1\n\n2",3\n4,"5\n6,7\n',
            ", line 5: unbalanced quote: one in the row that begins here is never",
        ),
        (
            b'a,b\n1,"x\n2,"y"\n',
            ", line 2: unbalanced quote in the row that begins here: on line 3, text follows",
        ),
        (
            b'a,b\n1,"x"y"\n',
            ", line 2: unbalanced quote in the row that begins here: on line 2, text follows",
        ),
        (b"a,b\n1,2\n\n1,caf\xe9\n", ", line 4: the byte 0xe9 is not UTF-8; a CSV must be UTF-8 text (for"),
        (b'a,b\n1,"x\ncaf\xe9"\n', ", line 3: the byte 0xe9 is not UTF-8;"),
        (
            b"\xff\xfea\x00,\x00b\x00\n\x00",
            ", line 1: the byte 0xff is not UTF-8; a CSV must be UTF-8 text (it",
        ),
        (b"a,b\n1,2\r3,4\n", ", line 2: a carriage return stands alone in the row that begins here;"),
        (b"a,b\r1,2\r", ", line 1: a carriage return stands alone in the row that begins here;"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 6, 1 << 20])
def test_what_is_no_csv_is_refused_with_the_line_on_which_its_row_begins(
    tmp_path, monkeypatch, content, told, chunk
):
    monkeypatch.setattr(csv_rows, "_CHUNK_BYTES", chunk)
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    assert refusal(path).startswith(told)


def test_a_quote_that_is_never_closed_is_found_without_reading_the_whole_file(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "MAX_ROW_BYTES", 1 << 20)
    path = tmp_path / "table.csv"
    path.write_text('a,b\n1,2\n3,"x\n' + "4,5\n" * 2_000_000)
    with CsvFile(path) as file:
        with pytest.raises(CsvError, match=r"line 3: .* is longer than 1 MB; a quote"):
            list(file.rows())
        assert file._stream.tell() < 4 << 20


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert refusal(tmp_path / "nowhere.csv").startswith(": no such file; name your CSV")
    assert refusal(tmp_path).startswith(": is not a file;")


def test_a_change_of_the_file_is_noticed(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a\n1\n")
    with CsvFile(path) as file:
        file.check_unchanged()
        with path.open("a") as stream:
            stream.write("2\n")
        with pytest.raises(CsvError, match="was changed while it was read"):
            file.check_unchanged()


def test_a_file_that_replaces_the_opened_one_is_no_change(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a\n1\n")
    with CsvFile(path) as file:
        (tmp_path / "other.csv").write_text("a\n2\n")
        (tmp_path / "other.csv").replace(path)
        file.check_unchanged()
        assert [row.fields for row in file.rows()] == [[b"1"]]
