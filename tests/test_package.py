"""What is shipped can be built by someone else, and works where it is installed."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the source distribution, and the wheel that was built from nothing else."""
    target = tmp_path_factory.mktemp("dist")
    result = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(target), str(ROOT)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    return target


def test_the_source_distribution_holds_sources(built: Path) -> None:
    (archive,) = built.glob("grove-*.tar.gz")
    with tarfile.open(archive) as contents:
        names = {name.partition("/")[2] for name in contents.getnames()}
    assert {"grove/_core.pyx", "grove/_core.pyi", "grove/py.typed", "pyproject.toml", "setup.py"} <= names
    assert "LICENSE" in names
    assert [name for name in names if name.endswith((".c", ".so"))] == []


def test_the_wheel_is_typed_and_complete(built: Path) -> None:
    (archive,) = built.glob("grove-*.whl")
    with zipfile.ZipFile(archive) as contents:
        names = set(contents.namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "grove").rglob("*.py")}
    assert modules <= names
    assert {"grove/py.typed", "grove/_core.pyi"} <= names
    assert [name for name in names if name.endswith(".c") or name.startswith("tests")] == []


def test_the_wheel_works(built: Path, tmp_path: Path) -> None:
    (archive,) = built.glob("grove-*.whl")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path), str(archive)],
        check=True,
    )
    code = "import grove, grove.runtime, grove._core as core; print(core.__file__, core.hash_entry({'a': 1}))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    place, digest = result.stdout.split()
    assert Path(place).is_relative_to(tmp_path)
    assert len(digest) == 32
