"""Importing pymesos without what the import does to the process.

Runs in the driver, once, on the main thread. Importing pymesos 0.3.15 puts a SIGINT handler of its own in place (which
only the main thread may), adds a log handler on stderr, and needs a package that does not build on newer Pythons; when
its I/O thread fails it interrupts the main thread. All of it is undone here, before anything else sees it.

Our parser takes the place of `http_parser` even where that is installed: so there is one behaviour on every machine,
and ours bounds what it stores.
"""

import importlib
import logging
import signal
import sys
import threading
import types
from typing import Any, NamedTuple

from roujiamo.errors import MissingDependency
from roujiamo.pymesos_driver import INSTALL_LINE
from roujiamo.pymesos_driver.http_parser import HttpParser

_STAND_IN = ("http_parser", "http_parser.http")


class Pymesos(NamedTuple):
    """The modules of pymesos that are used. They carry no types."""

    process: Any
    scheduler: Any


class FailureCatcher(threading.local):
    """Stands in for `_thread` inside pymesos.process: a failed I/O thread keeps its error, and interrupts nobody."""

    error: BaseException | None = None

    def interrupt_main(self) -> None:
        """Called by pymesos in its `except` block, in the thread that failed."""
        self.error = sys.exc_info()[1]


failures = FailureCatcher()


def load_pymesos() -> Pymesos:
    """Import pymesos, or return it when that was done before.

    Raises MissingDependency, whose text names the line that installs it.
    """
    if "pymesos" not in sys.modules and threading.current_thread() is not threading.main_thread():
        raise RuntimeError("pymesos must be imported on the main thread: it sets a signal handler")
    interrupt = signal.getsignal(signal.SIGINT)
    hidden = {name: sys.modules.get(name) for name in _STAND_IN}
    sys.modules.update(_stand_in_modules())
    try:
        process: Any = importlib.import_module("pymesos.process")
        scheduler = importlib.import_module("pymesos.scheduler")
        pymesos = importlib.import_module("pymesos")
    except ImportError as error:
        # Half of pymesos must not stay: a later try would find modules that never finished.
        for name in [name for name in sys.modules if name.partition(".")[0] == "pymesos"]:
            del sys.modules[name]
        raise MissingDependency(
            f"{_missing(error)} is not installed; install it with: {INSTALL_LINE}"
        ) from error
    finally:
        for name, module in hidden.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
        if threading.current_thread() is threading.main_thread() and interrupt is not None:
            signal.signal(signal.SIGINT, interrupt)
    logger = logging.getLogger("pymesos")
    for handler in [handler for handler in logger.handlers if handler is getattr(pymesos, "handler", None)]:
        logger.removeHandler(handler)
    # Its level was set to INFO; what is said is for the program that runs us to choose.
    logger.setLevel(logging.NOTSET)
    process.HttpParser = HttpParser
    process.thread = failures
    return Pymesos(process, scheduler)


def _stand_in_modules() -> dict[str, types.ModuleType]:
    package, module = (types.ModuleType(name) for name in _STAND_IN)
    package.http = module  # type: ignore[attr-defined]  # a module made by hand has no declared attributes
    module.HttpParser = HttpParser  # type: ignore[attr-defined]
    return {package.__name__: package, module.__name__: module}


def _missing(error: ImportError) -> str:
    return (error.name or "pymesos").partition(".")[0]
