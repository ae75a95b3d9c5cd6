"""What a verification says."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Finding", "Report"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was delivered. `what` is a word for programs, `object` a name in the archive."""

    what: str
    object: str
    message: str
    chain: str = ""
    line: int = 0


@dataclass(slots=True)
class Report:
    """What was looked at, and what is wrong; without findings the archive is whole.

    `size` is in bytes. `open_ends` are the chains whose end is not proven. `uncovered` are objects from before the
    manifests began, `waiting` those that are committed and become visible with their stream's next run.
    """

    archive: str
    objects: int = 0
    size: int = 0
    lines: int = 0
    chains: int = 0
    findings: list[Finding] = field(default_factory=list)
    uncovered: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    open_ends: list[str] = field(default_factory=list)

    def add(self, what: str, name: str, message: str, chain: str = "", line: int = 0) -> None:
        """One more finding."""
        self.findings.append(Finding(what, name, message, chain, line))
