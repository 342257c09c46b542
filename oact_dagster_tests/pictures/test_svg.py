"""Elements, numbers and escaped text."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oact_dagster.pictures.markdown import as_markdown
from oact_dagster.pictures.svg import dots, element, finite, label, nothing_yet, number, path, picture
from oact_dagster_tests.pictures.checked import parsed, texts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.04, "0"),
        (0.5, ".5"),
        (-0.5, "-.5"),
        (12.0, "12"),
        (12.34, "12.3"),
        (-10.06, "-10.1"),
        (100, "100"),
    ],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_elements():
    assert (
        element("path", d="M0 0", stroke_width=1.5, class_="a")
        == '<path d="M0 0" stroke-width="1.5" class="a"/>'
    )
    assert element("g", "x") == "<g>x</g>"
    assert path([(1, 2), (3.25, -4)]) == "M1 2 3.2-4"
    assert dots([(1, 2), (3, 4)]) == "M1 2h0M3 4h0"
    assert path([]) == ""


@given(st.text())
def test_any_text_is_escaped(text):
    root = parsed(picture(10, 10, label(1, 2, text, fill=text), title=text))
    plain = "".join(character for character in text if character.isprintable())
    shown = texts(root)[0]
    assert "".join(
        character for character in shown if character.isprintable() and character != "\ufffd"
    ) == "".join(character for character in plain if character != "\ufffd")


def test_a_picture_of_nothing():
    assert texts(parsed(nothing_yet())) == ["nothing yet"]
    assert texts(parsed(nothing_yet(title="Forces & <co>"))) == ["Forces & <co>: nothing yet"]


@pytest.mark.parametrize(
    ("value", "drawn"),
    [
        (1, True),
        (1.5, True),
        (float("nan"), False),
        (float("-inf"), False),
        (None, False),
        ("1", False),
        (1e200, False),
    ],
)
def test_what_can_be_drawn(value, drawn):
    assert finite(value) is drawn


def test_markdown():
    svg = picture(10, 10, "", title="é")
    markdown = as_markdown(svg, "C2[H]6 *a*\n_b_ ![x](y)")
    alt, _, rest = markdown.partition("](data:image/svg+xml;base64,")
    assert alt == r"![C2\[H\]6 \*a\* \_b\_ \!\[x\](y)"
    assert base64.b64decode(rest.removesuffix(")")).decode() == svg
