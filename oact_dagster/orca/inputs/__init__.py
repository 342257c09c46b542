"""What ORCA is asked to do: levels of theory, bases, checks, and the text of ``orca.inp``."""
