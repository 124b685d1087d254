"""Where `bin/roujiamo-rsh` enters Python, with -I -S and so without any path to the package.

Runs in the shim. Python compiles this file anew at each start and keeps no bytecode of it, so it is short; and any
Python 3 may be asked to run it, so its own syntax is the oldest.
"""

import sys

if sys.version_info < (3, 6):
    sys.stderr.write(
        "roujiamo-rsh: %s is Python %d.%d; set ROUJIAMO_PYTHON to a Python 3.6 or newer\n"
        % (sys.executable, sys.version_info[0], sys.version_info[1])
    )
    sys.exit(255)

import gc
import marshal
import posix

MYPY = False
if MYPY:
    # The C module has no type stub.
    import signal as _signal
else:
    import _signal

# Until there are handlers, Ctrl-C ends this process as it would ssh, not with a traceback.
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

root = __file__[: -len("/roujiamo/shim/__main__.py")] or "/"
# Last, not first: what lies beside the package in a site-packages folder is never to be taken for Python's own.
sys.path.append(root)

# Nothing of what is loaded now is garbage; to look through it costs 0.2 ms.
gc.disable()
store = "%s/roujiamo/shim/__pycache__/store.%s" % (root, sys.implementation.cache_tag)
is_stored = False
try:
    descriptor = posix.open(store, posix.O_RDONLY | posix.O_CLOEXEC)
    content = posix.read(descriptor, posix.fstat(descriptor).st_size)
    posix.close(descriptor)
    version = sys.version.encode()
    if content.startswith(version):
        modules = marshal.loads(content[len(version) :])
        for _, file, time, size, _ in modules.values():
            source = posix.stat(root + file)
            if source.st_mtime_ns != time or source.st_size != size:
                break
        else:
            finder = type(sys)("roujiamo.shim.store")
            exec(modules["roujiamo.shim.store"][4], finder.__dict__)
            sys.meta_path.insert(0, finder.StoredModules(root, modules))
            is_stored = True
except (OSError, ValueError, EOFError, TypeError, AttributeError, KeyError):
    # There is none, or the disk was full, or what is there is something else.
    pass

from roujiamo.shim.program import main  # noqa: E402 the path had to be there first

if not is_stored and root[0] == "/" and posix.access(store.rpartition("/")[0], posix.W_OK):
    from roujiamo.shim.store import write_store

    write_store(root, store)
gc.enable()

# Nothing of ours is buffered, and an orderly end of the interpreter costs 2 to 3 ms, a sixth of the whole start.
posix._exit(main(sys.argv[1:]))
