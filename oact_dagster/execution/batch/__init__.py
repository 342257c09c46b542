"""Running a batch of structures: a file for each thing that a batch does, and ``run`` that puts them together."""
