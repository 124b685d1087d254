"""Where roujiamo-rsh enters Python inside a task: the code of this module, with the shim's modules in it, is one file.

Runs in the shim, as bytecode that `roujiamo.proxy.shim_files` has put together. One file, and not one for each module,
since a disk may be slow to make them: ext4 without a journal passes over each inode that was used in the last minutes
(recently_deleted, fs/ext4/ialloc.c). After some hundred tasks 26 files and folders took 9 to 18 ms of a host's start.
"""

import marshal
import posix
import sys

MYPY = False
if MYPY:
    # The C module has no type stub.
    import signal as _signal
    from typing import Any  # noqa: F401 in a comment below, as this syntax wants it
else:
    import _signal

# The place of the modules, ((name, bytecode), ...): in the file that Python runs it is them.
MODULES = ...  # type: Any


def run(modules: "dict[str, bytes]") -> None:
    """Run the shim, and end the process."""
    # Until there are handlers, Ctrl-C ends this process as it would ssh, not with a traceback.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    # The proxy's importer, run from its code: nothing can be imported yet.
    importer = {}  # type: dict[str, Any]
    exec(marshal.loads(modules["roujiamo.proxy.importer"]), importer)
    sys.meta_path.insert(0, importer["Importer"](modules))
    from roujiamo.shim.program import main

    # Nothing of ours is buffered, and an orderly end of the interpreter costs 1 ms.
    posix._exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run(dict(MODULES))
