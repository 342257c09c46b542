"""A stand-in for ORCA. It is NOT ORCA: it reads and writes ORCA's formats, and computes GFN2-xTB with tblite."""
