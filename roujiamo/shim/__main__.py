"""Where `bin/roujiamo-rsh` enters Python, with -I -S and so without any path to the package.

Runs in the shim. Python compiles this file anew at each start and keeps no bytecode of it, so it is short: a word costs
1 µs. Any Python 3 may be asked to run it, so its own syntax is the oldest. What is there to load is `store`'s to know,
and where there is none `first_start`'s.
"""

import marshal
import posix
import sys

MYPY = False
if MYPY:
    # The C module has no type stub.
    import signal as _signal
    from typing import Any  # noqa: F401 in a comment below, as this syntax wants it

root = __file__[: -len("/roujiamo/shim/__main__.py")] or "/"
# Last, not first: what lies beside the package in a site-packages folder is never to be taken for Python's own.
sys.path.append(root)
if not MYPY:
    try:
        import _signal
    except ImportError:
        # Before Python 3.5, which this refuses.
        import roujiamo.shim.first_start  # noqa: F401

# Until there are handlers, Ctrl-C ends this process as it would ssh, not with a traceback.
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

load = None
try:
    store = "%s/roujiamo/shim/__pycache__/store.%s" % (root, sys.implementation.cache_tag)
    descriptor = posix.open(store, posix.O_RDONLY | posix.O_CLOEXEC)
    version = sys.version.encode()
    is_ours = posix.read(descriptor, len(version)) == version
    content = posix.read(descriptor, 1 << 20)
    posix.close(descriptor)
    if is_ours:
        code, stored = marshal.loads(content)
        names = {}  # type: dict[str, Any]
        exec(code, names)
        load = names["load"]
except (OSError, ValueError, EOFError, TypeError, AttributeError, KeyError):
    # There is none, or the disk was full, or what is there is something else, or this is an old Python.
    pass
main = load and load(root, stored)
if not main:
    sys.dont_write_bytecode |= sys.version_info < (3, 6)
    from roujiamo.shim.first_start import load_first

    main = load_first(root, store)

# Nothing of ours is buffered, and an orderly end of the interpreter costs 1 ms.
posix._exit(main(sys.argv[1:]))
