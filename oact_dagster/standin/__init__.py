"""A stand-in for ORCA, which it is NOT: ORCA's input and output, with GFN2-xTB by tblite in between."""
