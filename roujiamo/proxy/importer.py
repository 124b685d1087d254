"""The importer: makes modules of the code that came over the connection, without a file.

Runs in the task, first of all that came: `first_contact` executes this module's code and calls `start`. It trusts what
it is given, which the broker has proved to be its own. See `roujiamo.proxy.carried` for what that looks like.
"""

import sys

MYPY = False
if MYPY:
    import _socket
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType
    from typing import NoReturn

    Modules = dict[str, "str | bytes"]
else:
    # importlib.machinery would have to be loaded for it.
    ModuleSpec = type(sys.__spec__)


class Importer:
    """Finder and loader in one, as `sys.meta_path` wants it (PEP 451)."""

    def __init__(self, modules: "Modules") -> None:
        """`modules`: texts, or bytecode of this very Python, by name; a package's own is called NAME.__init__."""
        self._modules = modules

    def find_spec(self, name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        """Return the module's specification where it came."""
        is_package = name + ".__init__" in self._modules
        if not is_package and name not in self._modules:
            return None
        return ModuleSpec(name, self, is_package=is_package)  # type: ignore[arg-type]

    def create_module(self, spec: "ModuleSpec") -> None:
        """Have Python make an ordinary module."""

    def exec_module(self, module: "ModuleType") -> None:
        """Run the module's code in it."""
        exec(self.get_code(module.__name__), module.__dict__)

    def get_code(self, name: str) -> "CodeType":
        """Return the module's code, which knows its file in the package and its lines: tracebacks show them."""
        full = self._full(name)
        content = self._modules[full]
        if isinstance(content, str):
            return compile(content, full.replace(".", "/") + ".py", "exec", dont_inherit=True)
        import marshal

        return marshal.loads(content)  # type: ignore[no-any-return]

    def get_source(self, name: str) -> "str | None":
        """Return the module's text for a traceback, if that is what came."""
        content = self._modules[self._full(name)]
        return content if isinstance(content, str) else None

    def _full(self, name: str) -> str:
        return name if name in self._modules else name + ".__init__"


def start(
    modules: "Modules", connection: "_socket.socket", send_key: bytes, receive_key: bytes
) -> "NoReturn":
    """Make the modules known, and become the task's init. The keys are the connection's."""
    sys.meta_path.insert(0, Importer(modules))
    from roujiamo.proxy import init

    init.main(connection, modules, send_key, receive_key)
