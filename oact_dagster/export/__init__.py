"""Export of a campaign's training set: geometries, energies and forces."""
