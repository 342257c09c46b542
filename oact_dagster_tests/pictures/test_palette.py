"""The colours read well on a white and on a dark page."""

import pytest

from oact_dagster.pictures.palette import INK, SERIES, STATUS, contrast, luminance


@pytest.mark.parametrize("colour", sorted({INK, *SERIES, *STATUS.values()}))
@pytest.mark.parametrize("page", ["#ffffff", "#0f1117", "#000000"])
def test_contrast(colour, page):
    assert contrast(colour, page) >= 3
    assert contrast(page, colour) == contrast(colour, page)


def test_the_formula():
    assert luminance("#000000") == 0
    assert luminance("#ffffff") == pytest.approx(1)
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    # WCAG's own example of a grey that is just enough for text on white.
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


def test_every_series_has_a_colour_of_its_own():
    assert len(set(SERIES)) == len(SERIES)
    assert len(set(STATUS.values())) == len(STATUS)
