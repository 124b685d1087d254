"""The command of the Mesos task: `first_contact` made short, and the shell line that finds a Python for it.

Runs on the submitting side only. Pure apart from reading that module's text once.
"""

import ast
import functools
import io
import tokenize
from importlib import resources

# -I: see nothing of the environment and of the sandbox, where a file of the user's may be called socket.py. -S: no
# site, which halves the start. RHEL 8 has a Python 3.6 for itself that is not on PATH.
_SHELL = """for p in python3 /usr/libexec/platform-python; do \
command -v $p >/dev/null 2>&1 && exec $p -I -S -c '%s'; done; \
echo "roujiamo-proxy: $ROUJIAMO_HOST: no python3 on this agent; \
install python3 >= 3.6 there, or use an image that has it" >&2; \
exit 127"""

_SHORT_NAMES = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


# A broker that is there answers within moments; one whose machine is busy with thousands of hosts takes longer.
PATIENCE_SECONDS = 30


# Made once a session, not once a host: it takes some 25 ms.
@functools.lru_cache()
def bootstrap_command(patience_seconds: float = PATIENCE_SECONDS) -> str:
    """Return the shell command of the Mesos task (TaskInfo.command.value); the environment tells it the rest.

    `patience_seconds`: how long it tries to call back before it gives up.
    """
    return _SHELL % bootstrap_program(patience_seconds)


def bootstrap_program(patience_seconds: float = PATIENCE_SECONDS) -> str:
    """Return the Python program that the task carries. It holds no single quote, so that a shell leaves it alone."""
    source = resources.files("roujiamo.proxy").joinpath("first_contact.py").read_text(encoding="utf-8")
    return "%s\n%s(%g)" % (shortened(source), shortened_names(source)["main"], patience_seconds)


def shortened(source: str) -> str:
    """Return a program that does the same in fewer bytes.

    It loses docstrings, comments, annotations and the length of its own names. The names are the same in all of its
    functions, so the source may not use a builtin's or a module's name for something of its own, nor call its own
    functions with keywords.
    """
    tree = _Shortener(shortened_names(source)).visit(ast.parse(source))
    modules = [node for node in tree.body if isinstance(node, ast.Import)]
    names = [alias for node in modules for alias in node.names]
    tree.body = [ast.Import(names), *(node for node in tree.body if node not in modules)]
    text = ast.unparse(ast.fix_missing_locations(tree))
    lines = [line for line in _double_quoted(text).splitlines() if line.strip()]
    return "\n".join(" " * ((len(line) - len(line.lstrip())) // 4) + line.lstrip() for line in lines)


def shortened_names(source: str) -> "dict[str, str]":
    """Return what each name that the program binds itself is called in the short form."""
    names = {}  # type: dict[str, None]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            names[node.name] = None
        elif isinstance(node, ast.arg):
            names[node.arg] = None
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names[node.id] = None
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names[node.name] = None
    return dict(zip(names, _SHORT_NAMES, strict=False))


class _Shortener(ast.NodeTransformer):
    def __init__(self, names: "dict[str, str]") -> None:
        self._names = names

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._without_docstring(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = self._names[node.name]
        node.returns = None
        return self._without_docstring(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(self._names[node.arg], None)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self._names.get(node.id, node.id), node.ctx)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = node.name and self._names[node.name]
        return self.generic_visit(node)

    def _without_docstring(self, node: "ast.Module | ast.FunctionDef") -> ast.AST:
        if ast.get_docstring(node) is not None:
            del node.body[0]
        return self.generic_visit(node)


def _double_quoted(text: str) -> str:
    """Return the program with double quotes around its strings, as the shell's are the single ones."""
    tokens = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        string = token.string
        if token.type == tokenize.STRING and string.endswith("'"):
            prefix, _, content = string.partition("'")
            string = prefix + '"' + content[:-1] + '"'
        tokens.append((token.type, string, token.start, token.end, token.line))
    return tokenize.untokenize(tokens)
