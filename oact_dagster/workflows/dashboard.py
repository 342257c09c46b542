"""``python -m oact_dagster.workflows.dashboard workflow.db …``: the old name of ``oact dashboard``."""

import sys

if __name__ == "__main__":
    from oact_dagster.cli import main

    main(["dashboard", *sys.argv[1:]], prog_name="oact")
