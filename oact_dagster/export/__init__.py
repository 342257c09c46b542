"""The training set of a campaign: geometries, energies and forces, written for programs that learn from them."""
