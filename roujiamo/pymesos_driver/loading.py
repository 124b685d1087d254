"""Importing pymesos without what the import does to the process.

Runs in the driver, once, on the main thread. Importing pymesos 0.3.15 puts a SIGINT handler of its own in place (which
only the main thread may), adds a log handler on stderr, and needs a package that does not build on newer Pythons; when
its I/O thread fails it interrupts the main thread. All of it is undone here, before anything else sees it.

Our parser takes the place of `http_parser` even where that is installed: so there is one behaviour on every machine,
and ours bounds what it stores. A session's start waits for this import, so what it does not need is left out, 30 of 70
ms of CPU: `pymesos/__init__`, which imports the executor's and the operators' drivers, and the library's HTTP client,
which brings email and ssl for calls that are not made this way (`Subscription.call`).
"""

import importlib
import importlib.util
import signal
import sys
import threading
import types
from typing import Any, NamedTuple

from roujiamo.errors import MissingDependency
from roujiamo.pymesos_driver import INSTALL_LINE
from roujiamo.pymesos_driver.http_parser import HttpParser

_STAND_IN = ("http_parser", "http_parser.http", "six.moves.http_client")


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
        _make_package()
        process: Any = importlib.import_module("pymesos.process")
        scheduler = importlib.import_module("pymesos.scheduler")
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
    process.HttpParser = HttpParser
    process.thread = failures
    return Pymesos(process, scheduler)


def _make_package() -> None:
    """Make the package, where its modules are found, without what its `__init__` does. Raises ImportError."""
    if "pymesos" in sys.modules:
        return
    spec = importlib.util.find_spec("pymesos")
    if spec is None:
        raise ModuleNotFoundError("No module named 'pymesos'", name="pymesos")
    sys.modules["pymesos"] = importlib.util.module_from_spec(spec)


def _stand_in_modules() -> dict[str, types.ModuleType]:
    package, parser, client = (types.ModuleType(name) for name in _STAND_IN)
    # Modules made by hand have no declared attributes.
    vars(package)["http"] = parser
    vars(parser)["HttpParser"] = HttpParser
    vars(client).update(OK=200, TEMPORARY_REDIRECT=307, SERVICE_UNAVAILABLE=503, HTTPConnection=None)
    return {module.__name__: module for module in (package, parser, client)}


def _missing(error: ImportError) -> str:
    return (error.name or "pymesos").partition(".")[0]
