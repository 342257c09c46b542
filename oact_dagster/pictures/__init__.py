"""Pictures as SVG text, which read well on a white and on a dark page."""
