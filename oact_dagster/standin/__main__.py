"""``python -m oact_dagster.standin orca.inp > orca.out``, instead of ``orca orca.inp > orca.out``."""

import signal
import sys

from oact_dagster.standin.run import ERROR_TERMINATION, main

if __name__ == "__main__":
    # Let Ctrl+C end the process as it ends a compiled program: without a traceback, even inside tblite.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError as error:
        print(f"cannot write the output: {error.strerror}", file=sys.stderr)
        sys.exit(ERROR_TERMINATION)
