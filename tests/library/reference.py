"""Prints docs/library-reference.md from the library's docstrings.

python tests/library/reference.py > docs/library-reference.md
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

LIBRARY = "library/src/microcluster_token_consumer/__init__.py"
ROOT = Path(__file__).parents[2]

CHARM = ("TokenConsumer", "TokenConsumerEvents")
COMMAND = ("ClusterCommand", "CommandFailed", "CommandHung", "Member", "read_members")


def reference() -> str:
    """Return the whole document."""
    module = ast.parse((ROOT / LIBRARY).read_text())
    nodes = {
        node.name: node
        for node in module.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    }
    events = [name for name in nodes if name.endswith("Event")]
    charm = [*CHARM, *events]
    lines = ["# Reference of the consumer library", ""]
    source = f"[the library](../{LIBRARY})"
    lines += [f"*Reference.* Written by `tests/library/reference.py` from {source}.", ""]
    lines += [*_paragraphs(module), ""]
    for title, names in (
        ("For charms", charm),
        ("The cluster's command", list(COMMAND)),
    ):
        lines += [f"## {title}", ""]
        for name in names:
            lines += [*_entry(nodes[name]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _entry(node: ast.ClassDef | ast.FunctionDef) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef):
        yield f"### `{node.name}`"
        yield ""
        yield from _code(_signature(node))
        yield from _paragraphs(node)
        return
    yield f"### `{node.name}`"
    yield ""
    methods = [it for it in node.body if isinstance(it, ast.FunctionDef)]
    fields = [it for it in node.body if isinstance(it, ast.AnnAssign)]
    constructor = next((it for it in methods if it.name == "__init__"), None)
    if constructor is not None:
        yield from _code(_signature(constructor).replace("def __init__", node.name))
    elif fields:
        yield from _code("\n".join(["@dataclass", f"class {node.name}:", *map(_field, fields)]))
    yield from _paragraphs(node)
    if constructor is not None and ast.get_docstring(constructor):
        yield ""
        yield from _paragraphs(constructor)
    for name, words in _attributes(node):
        yield ""
        yield f"- `{name}`: {words}"
    for it in node.body:
        match it:
            case ast.Assign([ast.Name(name)], ast.Call(ast.Attribute(attr="EventSource"), [event])):
                yield ""
                yield f"- `{name}`: [`{ast.unparse(event)}`](#{ast.unparse(event).lower()})"
            case _:
                pass
    for method in methods:
        if not method.name.startswith("_") and method.name not in ("snapshot", "restore"):
            yield ""
            shown = _signature(method)
            is_property = any(ast.unparse(it) == "property" for it in method.decorator_list)
            shown = method.name if is_property else shown.removeprefix("def ")
            words = " ".join((ast.get_docstring(method) or "").split())
            yield f"- `{shown}`: {words}"


def _code(text: str) -> list[str]:
    return ["```python", text, "```", ""]


def _field(field: ast.AnnAssign) -> str:
    return f"    {ast.unparse(field)}"


def _signature(function: ast.FunctionDef) -> str:
    arguments = ast.unparse(function.args).removeprefix("self").removeprefix(", ")
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return f"def {function.name}({arguments}){returns}"


def _attributes(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Yield each attribute that has a text below it."""
    constructors = [it for it in node.body if isinstance(it, ast.FunctionDef)]
    for parent in (node, *constructors):
        for target, text in pairwise(parent.body):
            match target, text:
                case (
                    ast.AnnAssign(target=ast.Name(name) | ast.Attribute(attr=name))
                    | ast.Assign(targets=[ast.Name(name) | ast.Attribute(attr=name)]),
                    ast.Expr(value=ast.Constant(value=str(words))),
                ):
                    yield name, " ".join(words.split())
                case _:
                    pass


def _paragraphs(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> list[str]:
    """Return a docstring as Markdown: its indented code fenced, its arguments as a list."""
    lines: list[str] = []
    for block in _blocks(ast.get_docstring(node) or ""):
        first, _, rest = block.partition("\n")
        if first in ("Args:", "Raises:"):
            title = {"Args:": "Arguments", "Raises:": "Errors"}[first]
            lines += [f"{title}:", "", *(_item(entry.strip()) for entry in _joined(rest)), ""]
        elif block.startswith("    "):
            language = "yaml" if first.endswith(":") else "python"
            lines += [f"```{language}", *(line[4:] for line in block.splitlines()), "```", ""]
        else:
            lines += [*block.splitlines(), ""]
    return lines[:-1]


def _blocks(text: str) -> list[str]:
    """Return the paragraphs of a text; code is one of them, with its blank lines."""
    blocks: list[str] = []
    for block in text.split("\n\n"):
        code = block.lstrip("\n").startswith("    ")
        if code and blocks and blocks[-1].startswith("    "):
            blocks[-1] += f"\n\n{block}"
        else:
            blocks.append(block)
    return blocks


def _item(entry: str) -> str:
    name, _, words = entry.partition(": ")
    return f"- `{name}`: {words}"


def _joined(text: str) -> list[str]:
    """Return entries whose later lines are indented further, each as one line."""
    entries: list[str] = []
    for line in text.splitlines():
        if line.startswith("        "):
            entries[-1] += " " + line.strip()
        else:
            entries.append(line)
    return entries


if __name__ == "__main__":
    print(reference(), end="")
