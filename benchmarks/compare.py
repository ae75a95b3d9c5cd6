"""`python -m benchmarks.compare REV [REV]`: how fast two commits are, in turn; the second is HEAD if not given.

Each is checked out into a worktree of its own, in a directory that is removed at the end, and built there. Both are
measured by the benchmarks of this directory, in processes that take turns. One commit given twice shows how much is
noise.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.report import machine, versions
from benchmarks.rows import SUBJECTS

ROOT = Path(__file__).parent.parent

Found = dict[str, list[tuple[float, float]]]
"""Of each row, and each turn: the median of ours, and of what is beside it."""


def main() -> int:
    """Print, for each row, how many times as fast the second commit is."""
    options = _options()
    commits = [_commit(revision) for revision in (options.old, options.new)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="grove-compare-", dir=options.directory)))
        trees = [stack.enter_context(_worktree(commit, folder / str(side))) for side, commit in enumerate(commits)]
        for tree in trees:
            _build(tree)
        _print_head(commits, options)
        for subject in options.only or SUBJECTS:
            found: tuple[Found, Found] = ({}, {})
            for turn in range(options.turns):
                for side in (0, 1) if turn % 2 == 0 else (1, 0):
                    _measure(trees[side], subject, options, folder, found[side])
            _print_rows(subject, *found)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("old", metavar="REV")
    parser.add_argument("new", metavar="REV", nargs="?", default="HEAD")
    parser.add_argument("--turns", type=int, default=5, help="how often each commit is measured (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each row, each time (%(default)s)")
    parser.add_argument("--only", action="append", choices=SUBJECTS, help="one subject; may be given again")
    parser.add_argument(
        "--directory", type=Path, default=Path("/var/tmp"), metavar="DIR", help="on a real disk (%(default)s)"
    )
    return parser.parse_args()


# --- two of them ---


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def _commit(revision: str) -> str:
    return _git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")


@contextmanager
def _worktree(commit: str, tree: Path) -> Iterator[Path]:
    """A checkout of `commit` with the benchmarks of today, as long as this lasts."""
    _git("worktree", "add", "--detach", str(tree), commit)
    try:
        shutil.rmtree(tree / "benchmarks", ignore_errors=True)
        shutil.copytree(ROOT / "benchmarks", tree / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
        yield tree
    finally:
        _git("worktree", "remove", "--force", str(tree))


def _build(tree: Path) -> None:
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{_described(tree)} could not be built:\n{done.stderr}")


def _described(tree: Path) -> str:
    return subprocess.run(
        ["git", "-C", str(tree), "log", "-1", "--format=%h %s"], capture_output=True, text=True, check=True
    ).stdout.strip()


def _measure(tree: Path, subject: str, options: argparse.Namespace, folder: Path, found: Found) -> None:
    """Add one turn of each row of `subject`; a commit that has not got what is measured adds none."""
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks", "--only", subject, "--rounds", str(options.rounds)]
    command += ["--json", str(result), "--directory", str(folder)]
    # A commit may miss bars, so that the exit code says nothing.
    done = subprocess.run(
        command,
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    if not result.exists():
        why = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        print(f"{subject}: not measured in {_described(tree)[:60]}: {why}", flush=True)
        return
    for row in json.loads(result.read_text())["benchmarks"]:
        beside = statistics.median(row["extra_info"]["beside_data"])
        found.setdefault(row["name"], []).append((row["stats"]["median"], beside))


# --- what was found ---


def _print_head(commits: list[str], options: argparse.Namespace) -> None:
    cpu: dict[str, Any] = machine()["cpu"]
    for name, commit in zip(("old", "new"), commits, strict=True):
        print(f"{name}: {_git('log', '-1', '--format=%h %s', commit)}")
    print(f"{cpu['brand_raw']}, {cpu['count']} cores; Python {versions()['Python']}")
    print(
        f"medians of {options.turns} turns; beside: the same of what stands beside that row, "
        "in which nothing differs but the machine"
    )
    print(f"{'work':<44}{'old':>11}{'new':>11}{'as fast':>9}  {'least':>6} {'most':>6} {'beside':>8}", flush=True)


def _print_rows(subject: str, old: Found, new: Found) -> None:
    for name in old:
        if name not in new:
            continue
        pairs = list(zip(old[name], new[name], strict=False))
        ratios = sorted(before[0] / after[0] for before, after in pairs)
        beside = statistics.median(before[1] / after[1] for before, after in pairs)
        before, after = (statistics.median(turn[0] for turn in turns) for turns in (old[name], new[name]))
        # Bytes are shown in MB, seconds in ms.
        scale, unit = (1e-6, "MB") if subject == "memory" else (1e3, "ms")
        print(
            f"{name:<44}{before * scale:>8.3f} {unit}{after * scale:>8.3f} {unit}{statistics.median(ratios):>8.2f}x"
            f"  {ratios[0]:>6.2f} {ratios[-1]:>6.2f} {beside:>7.2f}x",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
