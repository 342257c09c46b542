"""A script's own ``setup_func``, under a name by which a campaign's settings can call it."""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from oact_dagster.attempts.setup_hook import SetupFunc

_NAME = "setup"


@contextmanager
def named_setup(function: SetupFunc | None) -> Iterator[str | None]:
    """Give a function a name ``module:function`` while the block runs; None stays None."""
    if function is None:
        yield None
        return
    module = ModuleType(f"oact_live_setup_{secrets.token_hex(8)}")
    setattr(module, _NAME, function)
    sys.modules[module.__name__] = module
    try:
        yield f"{module.__name__}:{_NAME}"
    finally:
        del sys.modules[module.__name__]
