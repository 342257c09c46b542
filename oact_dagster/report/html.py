"""Helpers for HTML: escaped text, and small tables."""

import html
from collections.abc import Iterable, Sequence
from typing import NamedTuple


def escaped(text: object) -> str:
    """A text as HTML, safe in an element and in a quoted attribute."""
    return html.escape(str(text), quote=True)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, name: str) -> str:
    """A small table, written whole into the page; an empty string without rows.

    Args:
        heads: headings of the columns.
        rows: cells. A number or :class:`Figure` is right-aligned; :class:`Markup` is used as it is, everything
            else is escaped.
        name: what it shows, as a label for screen readers.
    """
    lines, number = [], [False] * len(heads)
    for row in rows:
        cells = []
        for place, value in enumerate(row):
            if isinstance(value, int | float | Figure):
                number[place] = True
                text = value if isinstance(value, Figure) else number_text(value)
                cells.append(f'<td class="number">{escaped(text)}</td>')
            else:
                cells.append(f"<td>{value.text if isinstance(value, Markup) else escaped(value)}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    if not lines:
        return ""
    titles = "".join(
        f'<th scope="col"{" class=number" if right else ""}>{escaped(head)}</th>'
        for head, right in zip(heads, number, strict=True)
    )
    return (
        f'<div class="plain"><table aria-label="{escaped(name)}"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


class Figure(str):
    """A number that is already formatted."""


class Markup(NamedTuple):
    """Finished HTML."""

    text: str


def structure_button(orig_index: int) -> Markup:
    """A button that opens a structure's details."""
    return Markup(f'<button type="button" class="link" data-open="{orig_index:d}">{orig_index:d}</button>')


def number_text(value: float) -> str:
    """A number with thousands separators; a fraction with three significant digits."""
    if isinstance(value, int) or value.is_integer() or abs(value) >= 1000:
        return f"{round(value):,}"
    return f"{value:.3g}"
