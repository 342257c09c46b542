"""``python -m oact_dagster`` is ``oact``."""

from oact_dagster.cli import main

if __name__ == "__main__":
    main(prog_name="oact")
