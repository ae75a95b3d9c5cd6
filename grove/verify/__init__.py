"""Whether an archive holds what its manifests say: nothing removed, altered, added or reordered.

Everything is found from the archive alone but two things: that the last objects of a chain were removed together with
their lines, and that a whole chain was written anew. Both contradict the cache, which knows where each chain ends.
"""

from __future__ import annotations

from grove.caches import BaseCache
from grove.exceptions import NotFoundException
from grove.verify.archive import Archive, open_archive
from grove.verify.chains import Manifests, known_chains
from grove.verify.objects import Digests, judge_objects
from grove.verify.report import Finding, Report

__all__ = ["Archive", "Finding", "Report", "open_archive", "verify"]


def verify(archive: Archive, cache: BaseCache | None = None, manifests: Archive | None = None) -> Report:
    """Compare `archive` with the manifests in it, or in `manifests`; with `cache`, the ends of their chains too.

    NotFoundException where there is no manifest at all. AccessException where something cannot be read; errors of
    the cache are its own.
    """
    report = Report(archive.name)
    source = manifests or archive
    # In this order nothing that is delivered meanwhile looks wrong: a line is there before its object is.
    before = known_chains(cache) if cache is not None else {}
    with Digests(archive, archive.objects()) as digests:
        found = Manifests(report)
        for name, content in source.manifests():
            found.read(name, content)
        if not found.chains and not before:
            raise NotFoundException(
                f"There is no manifest in {source.name}. Name the directory or bucket that Grove writes to, not one "
                "below it; manifests are kept where the output's setting MANIFEST is true."
            )
        if cache is not None:
            homes = source.homes()
            found.take_tails(before.values(), homes)
            found.judge_ends(before, known_chains(cache), homes)
        else:
            report.open_ends = sorted(found.chains)
        found.judge()
        judge_objects(report, archive, found, digests)
    report.chains = len(found.chains)
    report.lines = sum(len(chain.lines) for chain in found.chains.values())
    return report
