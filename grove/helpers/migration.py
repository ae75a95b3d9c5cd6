"""Says which lines of a plugin were written for pydantic 1, so that all can be changed at once."""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

__all__ = ["advice"]


def advice(module: str) -> list[str]:
    """What to change in the source of `module`, a sentence per line of it; empty where there is nothing to say."""
    try:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            return []
        name = Path(spec.origin).name
        tree = ast.parse(Path(spec.origin).read_bytes())
    except (ImportError, OSError, SyntaxError, ValueError):
        return []
    return [f"{name}:{line}: {what}" for line, what in sorted(_findings(tree))]


def _findings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "pydantic":
            if any(alias.name == "BaseSettings" for alias in node.names):
                yield node.lineno, "import BaseSettings from pydantic_settings."
        elif isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if _is_bare_root_validator(decorator):
                    yield decorator.lineno, "write @root_validator(skip_on_failure=True), or use model_validator."
        elif isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.AnnAssign) and item.value is None and _is_optional(item.annotation):
                    yield item.lineno, "an Optional field needs its default, `= None`."


def _is_bare_root_validator(decorator: ast.expr) -> bool:
    call = decorator if isinstance(decorator, ast.Call) else None
    function = call.func if call is not None else decorator
    name = getattr(function, "id", getattr(function, "attr", ""))
    told = {keyword.arg for keyword in call.keywords} if call is not None else set()
    return name == "root_validator" and not told & {"pre", "skip_on_failure"}


def _is_optional(annotation: ast.expr) -> bool:
    if isinstance(annotation, ast.Subscript):
        return getattr(annotation.value, "id", getattr(annotation.value, "attr", "")) == "Optional"
    if isinstance(annotation, ast.BinOp):
        return any(
            isinstance(side, ast.Constant) and side.value is None for side in (annotation.left, annotation.right)
        )
    return False
