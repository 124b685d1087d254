"""`first_contact` made short: what `roujiamo.proxy.first_contact_short` holds, and a task carries.

Imported by its test, and run to write that module anew: `python -m tests.proxy.shortening`. It is not made when a
session starts, which would wait for it: 25 ms, and as many for what would have to be loaded.
"""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

from roujiamo.proxy import first_contact

MODULE = Path(first_contact.__file__).with_name("first_contact_short.py")
_SHORT_NAMES = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def module() -> str:
    """The module as it should be."""
    source = Path(first_contact.__file__).read_text(encoding="utf-8")
    return f'''"""What a task carries: `first_contact` in its short form.

Made from that by `python -m tests.proxy.shortening`.
"""

# fmt: off
PROGRAM = """\\
{shortened(source).translate({ord(each): chr(92) + each for each in chr(92) + chr(34)})}
"""
# What its `main` is called.
MAIN = "{shortened_names(source)["main"]}"
'''


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


def shortened_names(source: str) -> dict[str, str]:
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
    def __init__(self, names: dict[str, str]) -> None:
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

    def _without_docstring(self, node: ast.Module | ast.FunctionDef) -> ast.AST:
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


if __name__ == "__main__":
    MODULE.write_text(module(), encoding="utf-8")
