"""The layers: imports point down only, and what is heavy is loaded where it is used."""

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "grove"

# The higher may import the lower; what these names do not cover fails the test.
LAYERS = (
    ("exceptions", "constants", "types", "__about__"),
    ("_core",),
    ("models", "logging", "helpers"),
    ("caches", "outputs", "configs", "secrets", "processors", "http"),
    (
        *("state", "coverage", "history", "window", "lookback", "lease", "manifest"),
        *("delivery", "collection", "recovery", "verify"),
    ),
    ("connectors",),
    (
        *("runtime", "schedule", "workers", "loader", "oneshot", "daemon", "health", "backup"),
        *("processes", "entrypoints", "cli", "testing"),
    ),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
BACKENDS = LAYERS[3]


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module(path): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES["grove._core"] = PACKAGE / "_core.pyx"


def _imports(module: str) -> set[str]:
    """The modules of grove that `module` imports, anywhere in its text."""
    text = MODULES[module].read_text()
    found: set[str] = set()
    if module == "grove._core":
        statements = re.findall(r"^\s*(?:from (grove[\w.]*) import (.+)|import (grove[\w.]*))", text, re.MULTILINE)
        named = [(source or plain, names.split(",") if names else []) for source, names, plain in statements]
    else:
        named = []
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module} has a relative import"
                named.append((node.module or "", [alias.name for alias in node.names]))
            elif isinstance(node, ast.Import):
                named.extend((alias.name, []) for alias in node.names)
    for source, names in named:
        if source.split(".")[0] != "grove":
            continue
        submodules = {f"{source}.{name.strip()}" for name in names} & MODULES.keys()
        found |= submodules
        # `from grove import _core` needs nothing of the (lazy) package itself.
        if len(submodules) < len(names) or not names:
            found.add(source)
    return found - {"grove", module}


def _level(module: str) -> int:
    return LEVEL[module.split(".")[1]]


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"grove"}))
def test_imports_point_down(module: str) -> None:
    assert module.split(".")[1] in LEVEL, f"{module} has no layer"
    upward = [other for other in _imports(module) if _level(other) > _level(module)]
    assert upward == []


@pytest.mark.parametrize("module", [name for name in MODULES if name.count(".") and _level(name) == 0])
def test_the_lowest_layer_imports_nothing(module: str) -> None:
    assert _imports(module) == set()


def test_the_core_knows_only_errors_and_constants() -> None:
    assert _imports("grove._core") <= {"grove.exceptions", "grove.constants"}


@pytest.mark.parametrize("module", [name for name in MODULES if name.count(".") >= 1 and _level(name) == 3])
def test_a_backend_knows_its_own_base_only(module: str) -> None:
    package = ".".join(module.split(".")[:2])
    for other in _imports(module):
        if _level(other) != 3:
            continue
        # A private module is shared by the backends of one kind; the tools for HTTP are for all of them.
        tool = f"{other}.".startswith("grove.http.") and "._" not in other
        assert other == package or other.startswith(f"{package}._") or tool


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("grove.connectors.")])
def test_vendors_do_not_know_each_other(module: str) -> None:
    vendor = ".".join(module.split(".")[:3])
    for other in _imports(module):
        if other.startswith("grove.connectors."):
            shared = other == "grove.connectors.rest" or other.startswith(
                ("grove.connectors.rest.", "grove.connectors._")
            )
            assert shared or other == vendor or other.startswith(f"{vendor}.")


def test_there_is_no_cycle() -> None:
    graph = {module: _imports(module) for module in MODULES if module != "grove"}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for other in graph.get(module, ()):
                visit(other, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())
    assert done == set(graph)


def _uses(module: str) -> set[str]:
    """The full names of what `module` imports from elsewhere, and of the attributes of `time` that it uses."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time":
            found.add(f"time.{node.attr}")
    return found


def _modules_outside(*packages: str) -> list[str]:
    names = tuple(f"grove.{package}." for package in packages)
    return [name for name in MODULES if name != "grove._core" and not f"{name}.".startswith(names)]


HTTP_LIBRARIES = {"requests", "urllib3", "http.client", "urllib.request", "httpx", "aiohttp"}


# An output or a secret store may speak HTTP to a server of the user's own.
@pytest.mark.parametrize("module", _modules_outside("http", "outputs", "secrets", "testing"))
def test_sources_are_asked_by_the_http_toolkit_only(module: str) -> None:
    assert [name for name in _uses(module) if {name, name.split(".")[0]} & HTTP_LIBRARIES] == []


# A backend may pause for a moment between two attempts; whatever else waits, waits on an event.
@pytest.mark.parametrize("module", _modules_outside("caches", "outputs", "secrets", "testing"))
def test_whoever_waits_hears_that_the_process_is_to_stop(module: str) -> None:
    assert "time.sleep" not in _uses(module)


def _third_party(statement: str) -> set[str]:
    code = f"""
        import sys
        before = set(sys.modules)
        {statement}
        tops = {{name.partition(".")[0] for name in set(sys.modules) - before}}
        print(*sorted(tops - sys.stdlib_module_names - {{"grove"}}))
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(result.stdout.split())


# What models and the core stand on. No vendor, cloud, database or HTTP package belongs here.
FOUNDATION = {
    "_blake3",
    "annotated_types",
    "blake3",
    "cython_runtime",
    "dotenv",
    "isal",
    "jmespath",
    "orjson",
    "pydantic",
    "pydantic_core",
    "pydantic_settings",
    "typing_extensions",
    "typing_inspection",
}


def _is_foundation(name: str) -> bool:
    # The last one is the standard library's own, under a name that differs from platform to platform.
    return name in FOUNDATION or name.startswith(("_cython_", "_sysconfigdata_"))


def test_import_grove_loads_nothing_else() -> None:
    assert _third_party("import grove, grove.exceptions, grove.constants, grove.types") == set()


def test_connectors_load_no_vendor_cloud_or_http_package() -> None:
    # The client, too, loads the HTTP library with its first request.
    sources = ", ".join(module for module in MODULES if module.startswith("grove.connectors"))
    assert {name for name in _third_party(f"import grove.http.auth, {sources}") if not _is_foundation(name)} == set()


def test_the_command_line_loads_only_click() -> None:
    assert _third_party("import grove.cli") == {"click"}


def test_every_module_can_be_imported_first() -> None:
    # A process per module, forked from one in which nothing is loaded.
    code = """
        import importlib, os, sys
        for name in sys.argv[1:]:
            child = os.fork()
            if not child:
                try:
                    importlib.import_module(name)
                except BaseException as err:
                    print(f"{name}: {type(err).__name__}: {err}", flush=True)
                os._exit(0)
            os.waitpid(child, 0)
    """
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *MODULES],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert result.stdout == ""
    assert result.stderr == ""
