"""The demo campaign: 31 metal complexes built with Architector, and its settings."""
