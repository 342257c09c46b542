"""Parsl's interchange as a process that no Ctrl+C of the terminal reaches, and that ends with the batch.

``python -P -m oact_dagster.launchers.parsl.interchange PARENT`` reads Parsl's settings from stdin, as the module
that it runs does. Left to itself, an interchange whose batch was killed waits for ever.
"""

import os
import runpy
import sys
import threading
import time
from typing import Final

_LOOK_S: Final = 1.0


def main(parent: int) -> None:
    """Run the interchange until its parent has died.

    Args:
        parent: pid of the process that started this one.
    """
    os.setsid()
    # Parsl gives its processes titles, which would be written over what /proc shows of their environment.
    os.environ["SPT_NOENV"] = "1"
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    runpy.run_module("parsl.executors.high_throughput.interchange", run_name="__main__", alter_sys=True)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
