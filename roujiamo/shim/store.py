"""The shim's modules in one file: their bytecode, kept beside Python's own for the next start.

Runs in the shim. Python looks for each of the 14 modules in several places, compares times, opens and reads one file,
and calls much of importlib to make a module of it; for those that are in C it lists a folder. The store is trusted as
the bytecode in the same folder is, and like it is taken only where the sources are the ones it was made of.

    sys.version marshal((this module's code, (
        ((file, its mtime in ns, its size), ...)                of all sources,
        ((name, whether a package, file, code), ...)            in the order in which they are to be loaded,
        ((name, path), ...)                                     of Python's own modules that are files in C)))

`file` begins behind the folder that holds the package. `__main__` reads it, and takes this module out of it first.
"""

import gc
import marshal
import posix
import sys

MYPY = False
if MYPY:
    import importlib.machinery as _external
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType

    Stored = tuple[
        tuple[tuple[str, int, int], ...],
        tuple[tuple[str, bool, str, CodeType], ...],
        tuple[tuple[str, str], ...],
    ]

    def create_dynamic(spec: ModuleSpec) -> ModuleType: ...
    def exec_dynamic(module: ModuleType) -> int: ...
else:
    # What importlib.machinery and types would have to be loaded for.
    import _frozen_importlib_external as _external
    from _imp import create_dynamic, exec_dynamic

    ModuleSpec = type(sys.__spec__)
    ModuleType = type(sys)

# What only a start without a store needs.
_FIRST_START = "roujiamo.shim.first_start"


def load(root: str, stored: "Stored") -> "Callable[[list[str]], int] | None":
    """Return the shim's main(), with all that it needs loaded; None where a source is not what it was."""
    sources, modules, in_c = stored
    try:
        for file, time, size in sources:
            source = posix.stat(root + file)
            if source.st_mtime_ns != time or source.st_size != size:
                return None
    except OSError:
        return None
    # Nothing of what is loaded now is garbage; to look through it costs 0.2 ms.
    gc.disable()
    for name, path in in_c:
        _load_from(path, name)
    for name, is_package, file, code in modules:
        _make(name, is_package, root + file, code)
    gc.enable()
    return sys.modules["roujiamo.shim.program"].main  # type: ignore[no-any-return]


def _load_from(path: str, name: str) -> None:
    """Load a module in C where Python's search has found it before; to list the folder costs 0.2 ms."""
    if name not in sys.modules and path.rpartition("/")[0] in sys.path:
        spec = ModuleSpec(name, None, origin=path)
        try:
            module = create_dynamic(spec)
            exec_dynamic(module)
        except ImportError:
            # It is not there any more. Python will look for it.
            return
        sys.modules[name] = module


def _make(name: str, is_package: bool, file: str, code: "CodeType") -> None:
    """Make a module and run its code: importlib does the same in five times as long, 0.3 ms for all."""
    if name in sys.modules:
        return
    module = ModuleType(name)
    module.__file__ = file
    module.__spec__ = spec = ModuleSpec(name, None, origin=file, is_package=is_package)
    parent, _, last = name.rpartition(".")
    module.__package__ = name if is_package else parent
    if is_package:
        # Where Python finds the package's modules that are not in here.
        module.__path__ = spec.submodule_search_locations = [file.rpartition("/")[0]]
    sys.modules[name] = module
    exec(code, module.__dict__)
    if parent:
        setattr(sys.modules[parent], last, module)


def write_store(root: str, path: str) -> None:
    """Keep the package's modules that are loaded now in the file `path`; nothing happens where that is impossible."""
    sources, modules, in_c = [], [], []
    own = None
    # A module stands behind those that it has imported (since Python 3.8; before, `import` loads these again).
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if spec is None or spec.origin is None:
            continue
        if isinstance(spec.loader, _external.ExtensionFileLoader):
            in_c.append((name, spec.origin))
        if name.partition(".")[0] != "roujiamo" or name == _FIRST_START:
            continue
        if spec.origin[: len(root)] != root:
            return
        try:
            # Before its code is looked for: whatever changes later shows.
            source = posix.stat(spec.origin)
            code = _compile(spec)
        except (OSError, ImportError, AttributeError, ValueError, SyntaxError):
            return
        file = spec.origin[len(root) :]
        if name == __name__:
            own = code
        else:
            modules.append((name, spec.submodule_search_locations is not None, file, code))
        sources.append((file, source.st_mtime_ns, source.st_size))
    temporary = "%s.%d" % (path, posix.getpid())
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
    try:
        # As many may read it as may read the sources; to write it nobody needs the right, a new one takes its place.
        descriptor = posix.open(temporary, flags, posix.stat(root).st_mode & 0o444 | 0o600)
    except OSError:
        return
    content = sys.version.encode() + marshal.dumps((own, (tuple(sources), tuple(modules), tuple(in_c))))
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


def _compile(spec: "ModuleSpec") -> "CodeType":
    """Return the module's code without docstrings, which are a sixth of it."""
    loader, file = spec.loader, spec.origin
    if MYPY:
        assert isinstance(loader, _external.SourceFileLoader) and file is not None
    if file.endswith(".py"):
        return compile(loader.get_data(file), file, "exec", dont_inherit=True, optimize=2)
    return loader.get_code(spec.name)  # type: ignore[return-value]
