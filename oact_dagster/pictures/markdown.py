"""Pictures in Markdown."""

import base64


def as_markdown(svg: str, alt: str) -> str:
    """Return ``![alt](data:image/svg+xml;base64,...)`` on one line; Markdown's characters in ``alt`` are escaped."""
    told = " ".join(alt.split())
    for character in ("\\", "[", "]", "`", "*", "_", "<", "!"):
        told = told.replace(character, "\\" + character)
    return f"![{told}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
