"""Pictures in Markdown."""

import base64


def as_markdown(svg: str, alt: str) -> str:
    """Return a Markdown image with the picture embedded.

    Args:
        svg: The picture.
        alt: Alternative text; Markdown's special characters are escaped.

    Returns:
        ``![alt](data:image/svg+xml;base64,...)`` on one line.
    """
    told = " ".join(alt.split())
    for character in ("\\", "[", "]", "`", "*", "_", "<", "!"):
        told = told.replace(character, "\\" + character)
    return f"![{told}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
