"""Parsl's interchange as a process that Ctrl+C in the terminal does not reach, and that ends with the batch.

``python -P -m oact_dagster.launchers.parsl.interchange PARENT`` reads Parsl's settings from stdin, like the module
that it runs. Without this, an interchange whose batch was killed waits for ever.
"""

import os
import runpy
import sys
import threading
import time
from typing import Final

_LOOK_S: Final = 1.0


def main(parent: int) -> None:
    """Run the interchange until the process with the pid `parent`, which started this one, has died."""
    os.setsid()
    # Else Parsl's process titles overwrite what /proc shows of the environment.
    os.environ["SPT_NOENV"] = "1"
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    runpy.run_module("parsl.executors.high_throughput.interchange", run_name="__main__", alter_sys=True)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
