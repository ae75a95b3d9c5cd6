"""Looks for many texts at once: how long that takes depends on where it looks, and hardly on how many there are."""

from collections.abc import Iterable, Iterator

__all__ = ["SHORTEST", "Needles"]

SHORTEST = 4
"""Characters that each of the texts has at least."""

# So few are found faster one by one.
_FEW = 48


class Needles:
    """A collection of texts. One may be added more than once, and stays until it was discarded as often.

    May be searched by some threads while another one changes it.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        # By their first characters: how many there are of each length. Many credentials of one vendor begin alike.
        self._lengths: dict[str, dict[int, int]] = {}

    def add(self, texts: Iterable[str]) -> None:
        """Look for `texts` as well. ValueError where one has fewer than SHORTEST characters."""
        for text in texts:
            if len(text) < SHORTEST:
                raise ValueError("a text is too short to be looked for")
            self._counts[text] = self._counts.get(text, 0) + 1
            if self._counts[text] == 1:
                lengths = self._lengths.setdefault(text[:SHORTEST], {})
                lengths[len(text)] = lengths.get(len(text), 0) + 1

    def discard(self, texts: Iterable[str]) -> None:
        """Undo one `add` of each of `texts`."""
        for text in texts:
            self._counts[text] -= 1
            if self._counts[text]:
                continue
            del self._counts[text]
            lengths = self._lengths[text[:SHORTEST]]
            lengths[len(text)] -= 1
            if not lengths[len(text)]:
                del lengths[len(text)]
            if not lengths:
                del self._lengths[text[:SHORTEST]]

    def within(self, text: str) -> bool:
        """Whether any of the texts is in `text`."""
        if len(self._counts) <= _FEW:
            return any(needle in text for needle in tuple(self._counts))
        starts = {text[index : index + SHORTEST] for index in range(len(text) - SHORTEST + 1)}
        if self._lengths.keys().isdisjoint(starts):
            return False
        return next(self._found(text), None) is not None

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in `text` they are, from and to; those that overlap are one."""
        spans: list[tuple[int, int]] = []
        for start, end in self._found(text):
            if spans and start < spans[-1][1]:
                spans[-1] = (spans[-1][0], max(spans[-1][1], end))
            else:
                spans.append((start, end))
        return spans

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        """Of those that begin at one place, the longest."""
        for start in range(len(text) - SHORTEST + 1):
            lengths = self._lengths.get(text[start : start + SHORTEST])
            if lengths is None:
                continue
            for length in sorted(lengths, reverse=True):
                # Shorter at the end of the text, and then one of the shorter ones at most.
                needle = text[start : start + length]
                if needle in self._counts:
                    yield start, start + len(needle)
                    break
