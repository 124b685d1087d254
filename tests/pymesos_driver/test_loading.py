"""Importing pymesos leaves the process as it was. Each in a process of its own: an import happens once."""

import subprocess
import sys

import pytest

from roujiamo.pymesos_driver import INSTALL_LINE


def run(code: str) -> str:
    """The stdout of a Python that runs `code`; what it has on stderr fails the test."""
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.stderr == ""
    return answer.stdout.strip()


@pytest.mark.parametrize("handler", ["signal.SIG_IGN", "signal.default_int_handler", "signal.SIG_DFL"])
def test_sigint_stays_ours(handler: str) -> None:
    """pymesos puts a handler of its own in place, which raises its I/O thread's errors in the main thread."""
    code = (
        "import signal; from roujiamo.pymesos_driver.loading import load_pymesos\n"
        f"signal.signal(signal.SIGINT, {handler}); load_pymesos(); load_pymesos()\n"
        f"print(signal.getsignal(signal.SIGINT) == {handler})"
    )
    assert run(code) == "True"


def test_nothing_is_logged_unless_the_program_wants_it() -> None:
    """pymesos adds a handler on stderr with its own format."""
    code = (
        "import logging; from roujiamo.pymesos_driver.loading import load_pymesos\n"
        "load_pymesos(); logger = logging.getLogger('pymesos.process')\n"
        "logging.getLogger().addHandler(logging.NullHandler()); logger.error('noise')\n"
        "print(logger.hasHandlers(), logging.getLogger('pymesos').handlers, logger.getEffectiveLevel())"
    )
    assert run(code) == f"True [] {30}"


def test_our_parser_is_used_and_no_false_module_stays() -> None:
    """Another library of the process that looks for http_parser must not find half of one."""
    code = (
        "import sys; from roujiamo.pymesos_driver.loading import load_pymesos\n"
        "p = load_pymesos().process\n"
        "print(p.HttpParser.__module__, sorted(n for n in sys.modules if n.startswith('http_parser')))"
    )
    assert run(code) == "roujiamo.pymesos_driver.http_parser []"


def test_a_failing_io_thread_interrupts_nobody() -> None:
    """pymesos calls interrupt_main, which is a Ctrl-C that nobody typed."""
    code = (
        "from roujiamo.pymesos_driver.subscription import Subscription\n"
        "import logging, threading; logging.disable()\n"
        "ended = threading.Event()\n"
        "class Listener:\n"
        "    def on_event(self, *_): pass\n"
        "    def on_end(self, subscription, error): print(type(error).__name__); ended.set()\n"
        "s = Subscription('127.0.0.1:1', {'user': 'u', 'name': 'n'}, None, Listener()); s.start()\n"
        "ended.wait(10); s.join(); print('lives')"
    )
    assert run(code) == "MasterTrouble\nlives"


def test_the_first_import_must_be_on_the_main_thread() -> None:
    """Setting a signal handler fails anywhere else, half-way through the import."""
    code = (
        "import threading; from roujiamo.pymesos_driver.loading import load_pymesos\n"
        "def load():\n"
        "    try: load_pymesos()\n"
        "    except RuntimeError as error: print('main thread' in str(error))\n"
        "t = threading.Thread(target=load); t.start(); t.join()"
    )
    assert run(code) == "True"


@pytest.mark.parametrize("missing", ["pymesos", "six", "addict"])
def test_what_is_missing_is_named_with_the_line_that_installs_it(missing: str) -> None:
    """Plain `pip install pymesos` fails on Python 3.11 and later, so the message must say what works."""
    code = (
        "import sys; from roujiamo.errors import MissingDependency\n"
        "from roujiamo.pymesos_driver.loading import load_pymesos\n"
        f"sys.modules[{missing!r}] = None\n"
        "try: load_pymesos()\n"
        "except MissingDependency as error: print(error)\n"
        f"sys.modules.pop({missing!r}, None); print(load_pymesos().process is not None)"
    )
    assert run(code) == f"{missing} is not installed; install it with: {INSTALL_LINE}\nTrue"
