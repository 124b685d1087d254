"""The shim's modules in one file: their bytecode, kept beside Python's own for the next start.

Runs in the shim. Python looks for each of the 14 modules in several places, compares times, and opens and reads one
file: half of what the shim's imports cost, 1.4 of 3 ms of CPU at least, and 2 of 4 where caches are cold. The store is
trusted as the bytecode in the same folder is, and like it is taken only where the sources are the ones it was made of.

    sys.version marshal({name: (whether a package, file, its mtime in ns, its size, code)})

`file` begins behind the folder that holds the package. `__main__` reads it, and takes this module out of it first.
"""

import marshal
import posix
import sys

MYPY = False
if MYPY:
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType

    Stored = tuple[bool, str, int, int, CodeType]
else:
    # What importlib.machinery would have to be loaded for.
    ModuleSpec = type(sys.__spec__)


class StoredModules:
    """Finder and loader of stored modules (importlib.abc), to be the first in sys.meta_path."""

    def __init__(self, root: str, modules: "dict[str, Stored]") -> None:
        """`root`: the folder that holds the package."""
        self._root = root
        self._modules = modules

    def find_spec(self, name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        """Return how the module is to be made; None for one that is not in here."""
        stored = self._modules.get(name)
        if stored is None:
            return None
        spec = ModuleSpec(name, self, is_package=stored[0])  # type: ignore[arg-type]
        if stored[0]:
            # Where Python finds the package's modules that are not in here.
            spec.submodule_search_locations = [(self._root + stored[1]).rpartition("/")[0]]
        return spec

    def create_module(self, spec: "ModuleSpec") -> None:
        """Leave that to Python."""

    def exec_module(self, module: "ModuleType") -> None:
        """Run the module's code."""
        stored = self._modules[module.__name__]
        module.__file__ = self._root + stored[1]
        exec(stored[4], module.__dict__)


def write_store(root: str, path: str) -> None:
    """Keep the package's modules that are loaded now in the file `path`; nothing happens where that is impossible."""
    modules = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "roujiamo":
            spec = module.__spec__
            if spec is None or spec.origin is None or spec.origin[: len(root)] != root:
                return
            try:
                # Before its code is looked for: whatever changes later shows.
                source = posix.stat(spec.origin)
                code = spec.loader.get_code(name)  # type: ignore[union-attr]
            except (OSError, ImportError, AttributeError):
                return
            is_package = spec.submodule_search_locations is not None
            modules[name] = (is_package, spec.origin[len(root) :], source.st_mtime_ns, source.st_size, code)
    temporary = "%s.%d" % (path, posix.getpid())
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
    try:
        # As many may read it as may read the sources; to write it nobody needs the right, a new one takes its place.
        descriptor = posix.open(temporary, flags, posix.stat(root).st_mode & 0o444 | 0o600)
    except OSError:
        return
    content = sys.version.encode() + marshal.dumps(modules)
    try:
        try:
            is_whole = posix.write(descriptor, content) == len(content)
        finally:
            # A network's file system says only here that the disk is full.
            posix.close(descriptor)
        if is_whole:
            # Of many that start at once, each puts a whole one there.
            posix.rename(temporary, path)
            return
    except OSError:
        pass
    try:
        posix.unlink(temporary)
    except OSError:
        # The folder is gone, as a session's is at its end.
        pass
