"""Pictures as SVG text, legible on light and dark pages."""
