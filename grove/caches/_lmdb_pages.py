"""Looks at every page of an LMDB file before LMDB does, which trusts them: it would end the process, or lose records.

The layout is that of LMDB 0.9 (data format 1) on a machine with 64 bits. A page has a header of 16 bytes, and begins
with its own number. Two of them describe the newest state and the one before.
"""

from __future__ import annotations

import itertools
import os
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["MAP_LIMIT", "Damaged", "check_start", "is_cut_short", "records"]

_BYTES = "<" if sys.byteorder == "little" else ">"
_META = struct.Struct(f"{_BYTES}IIQQ")
_TREE = struct.Struct(f"{_BYTES}IHHQQQQQ")
_TAIL = struct.Struct(f"{_BYTES}QQ")
_HEADER = struct.Struct(f"{_BYTES}QHHHH")
_LARGE = struct.Struct(f"{_BYTES}QHHI")
_NODE = struct.Struct(f"{_BYTES}HHHH")
_NUMBER = struct.Struct(f"{_BYTES}Q")

# No map of ours grows larger than that; bytes.
MAP_LIMIT = 1 << 40

_HEAD = 16
_STATE = _META.size + 2 * _TREE.size + _TAIL.size
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW, _DIRTY = 0x01, 0x02, 0x04, 0x10
_BIG = 0x01
_NONE = (1 << 64) - 1
_INTEGER_KEYS = 0x08
_DEEPEST = 32
_PAGE_SIZES = frozenset(1 << bits for bits in range(9, 17))


class Damaged(Exception):
    """The file cannot be what LMDB has written."""


class _Tree(NamedTuple):
    pad: int
    flags: int
    depth: int
    branches: int
    leaves: int
    large: int
    entries: int
    root: int


class _State(NamedTuple):
    number: int
    last: int
    free: _Tree
    main: _Tree


def check_start(fd: int) -> None:
    """Look at what LMDB believes before it opens a file. Damaged where that cannot be right."""
    page_size = 0
    for which in (0, 1):
        start = os.pread(fd, _HEAD + _STATE, which * page_size)
        if len(start) < _HEAD + _STATE:
            raise Damaged("it has been cut short")
        magic, version, _, map_size = _META.unpack_from(start, _HEAD)
        page_size = _TREE.unpack_from(start, _HEAD + _META.size)[0]
        last, _ = _TAIL.unpack_from(start, _HEAD + _STATE - _TAIL.size)
        if (magic, version) != (_MAGIC, _VERSION) or page_size not in _PAGE_SIZES:
            raise Damaged("it does not begin like one of LMDB's (data format 1)")
        if max(map_size, last * page_size) > MAP_LIMIT:
            raise Damaged("it is said to be larger than it can be")


def records(fd: int, page_size: int) -> Iterator[tuple[bytes, bytes]]:
    """Every key and value of the newest state in order, once its structure is known to be sound up to there.

    Damaged where something is wrong, at the latest after the last record. Nobody may write meanwhile.
    """
    newest, _ = _states(fd, page_size)
    walk = _Walk(fd, page_size, newest)
    freed = walk.release(list(walk.nodes(newest.free)))
    # Every change but the first frees the page it has replaced: a state of a higher number has been an older one.
    if newest.number > 1 and freed != newest.number:
        raise Damaged("the newest state has another's number")
    yield from walk.nodes(newest.main)
    if not walk.has_last():
        raise Damaged("it is said to be larger than it is")


def is_cut_short(fd: int, page_size: int) -> bool:
    """Whether the page that the next change will describe its state in holds none: the last one could not write it.

    LMDB then writes the new state with the old one's number, so that nobody uses it; the newest state is not touched.
    Damaged where the pages describe no states at all.
    """
    _, older = _states(fd, page_size)
    walk = _Walk(fd, page_size, older)
    try:
        walk.release(list(walk.nodes(older.free)))
    except Damaged:
        return True
    return False


def _states(fd: int, page_size: int) -> tuple[_State, _State]:
    """The newest state, by its number as LMDB chooses it, and the one before."""
    even, odd = _state(fd, page_size, 0), _state(fd, page_size, 1)
    if (even.number or odd.number) and (abs(even.number - odd.number) != 1 or even.number % 2):
        raise Damaged("the two newest states do not follow one another")
    return (odd, even) if odd.number > even.number else (even, odd)


def _state(fd: int, page_size: int, which: int) -> _State:
    page = os.pread(fd, page_size, which * page_size)
    if len(page) < page_size:
        raise Damaged("it has been cut short")
    number, _, flags, _, _ = _HEADER.unpack_from(page)
    magic, version, _, _ = _META.unpack_from(page, _HEAD)
    free = _Tree(*_TREE.unpack_from(page, _HEAD + _META.size))
    main = _Tree(*_TREE.unpack_from(page, _HEAD + _META.size + _TREE.size))
    last, state = _TAIL.unpack_from(page, _HEAD + _STATE - _TAIL.size)
    if number != which or flags & ~_DIRTY != 0x08 or (magic, version) != (_MAGIC, _VERSION):
        raise Damaged(f"page {which} does not describe a state")
    if free.pad != page_size or free.flags & 0x7FFF != _INTEGER_KEYS or main.flags & 0x7FFF:
        raise Damaged(f"page {which} describes another kind of store")
    return _State(state, last, free, main)


class _Walk:
    """One state's trees, and which pages they use."""

    def __init__(self, fd: int, page_size: int, state: _State) -> None:
        self._fd = fd
        self._page_size = page_size
        self._state = state
        self._used = {0, 1}

    def nodes(self, tree: _Tree) -> Iterator[tuple[bytes, bytes]]:
        """The keys and values of a tree, in order; Damaged at the end where it is not as large as it says."""
        counts = {"branches": 0, "leaves": 0, "large": 0, "entries": 0}
        if tree.root != _NONE:
            if not 0 < tree.depth <= _DEEPEST:
                raise Damaged(f"a tree cannot be {tree.depth} pages deep")
            yield from self._below(tree.root, tree.depth, bool(tree.flags & _INTEGER_KEYS), counts, b"", None)
        elif tree.depth:
            raise Damaged("a tree has no root")
        if counts != {name: getattr(tree, name) for name in counts}:
            raise Damaged("a tree is not as large as it says")

    def _below(
        self, number: int, depth: int, integers: bool, counts: dict[str, int], low: bytes, high: bytes | None
    ) -> Iterator[tuple[bytes, bytes]]:
        """What lies below a page; every key from `low` to before `high`, as `_rank` puts them in order."""
        page = self._page(number, _LEAF if depth == 1 else _BRANCH)
        nodes = self._nodes(page, number)
        # The first key of a branch is not written: it is that of the branch above.
        ranks = [_rank(key, integers) for key, *_ in nodes]
        if depth > 1:
            ranks[0] = low
        for rank, following in itertools.pairwise([*ranks, high]):
            assert rank is not None
            if rank < low or (following is not None and rank >= following):
                raise Damaged(f"page {number} holds a key that belongs elsewhere")
        if depth == 1:
            counts["leaves"] += 1
            counts["entries"] += len(nodes)
            for key, size, flags, at in nodes:
                yield key, self._value(page, number, size, flags, at, counts)
            return
        counts["branches"] += 1
        for (_, size, flags, _), (rank, following) in zip(nodes, itertools.pairwise([*ranks, high]), strict=True):
            assert rank is not None
            yield from self._below(size | flags << 32, depth - 1, integers, counts, rank, following)

    def _page(self, number: int, kind: int) -> bytes:
        self._use(number, 1)
        page = os.pread(self._fd, self._page_size, number * self._page_size)
        if len(page) < self._page_size:
            raise Damaged("it has been cut short")
        found, _, flags, lower, upper = _HEADER.unpack_from(page)
        if found != number or flags & ~_DIRTY != kind:
            raise Damaged(f"page {number} is another")
        if not _HEAD < lower <= upper <= self._page_size or lower % 2:
            raise Damaged(f"page {number} has no sound header")
        return page

    def _nodes(self, page: bytes, number: int) -> list[tuple[bytes, int, int, int]]:
        """Of each node: its key, its size and flags (of a branch: its page), and where its value begins."""
        _, _, _, lower, upper = _HEADER.unpack_from(page)
        places = struct.unpack_from(f"{_BYTES}{(lower - _HEAD) // 2}H", page, _HEAD)
        nodes = []
        for place in places:
            if place < upper or place + 8 > self._page_size:
                raise Damaged(f"page {number} points out of itself")
            low, high, flags, length = _NODE.unpack_from(page, place)
            at = place + 8 + length
            if at > self._page_size:
                raise Damaged(f"page {number} points out of itself")
            nodes.append((page[place + 8 : at], low | high << 16, flags, at))
        return nodes

    def _value(self, page: bytes, number: int, size: int, flags: int, at: int, counts: dict[str, int]) -> bytes:
        if not flags:
            if at + size > self._page_size:
                raise Damaged(f"page {number} points out of itself")
            return page[at : at + size]
        if flags != _BIG or at + 8 > self._page_size:
            raise Damaged(f"page {number} holds what Grove does not write")
        (first,) = _NUMBER.unpack_from(page, at)
        count = (_HEAD - 1 + size) // self._page_size + 1
        self._use(first, count)
        data = os.pread(self._fd, _HEAD + size, first * self._page_size)
        if len(data) < _HEAD + size:
            raise Damaged("it has been cut short")
        found, _, kind, pages = _LARGE.unpack_from(data)
        if found != first or kind & ~_DIRTY != _OVERFLOW or pages != count:
            raise Damaged(f"page {first} is another")
        counts["large"] += count
        return data[_HEAD:]

    def release(self, free: list[tuple[bytes, bytes]]) -> int:
        """Take note of the pages that may be written over: none of them may hold anything.

        The number of the last change that has freed some; 0 for none.
        """
        number = 0
        for key, value in free:
            number = _NUMBER.unpack(key)[0] if len(key) == 8 else 0
            if not 0 < number <= self._state.number:
                raise Damaged("pages were freed after the newest state")
            count = _NUMBER.unpack_from(value)[0] if len(value) >= 8 else _NONE
            if (count + 1) * 8 > len(value):
                raise Damaged("the list of free pages is cut short")
            previous = _NONE
            for page in struct.unpack_from(f"{_BYTES}{count}Q", value, 8):
                if page >= previous:
                    raise Damaged("the list of free pages is out of order")
                self._use(page, 1)
                previous = page
        return number

    def has_last(self) -> bool:
        """Whether the last page that the state speaks of has been met: it is used, or free."""
        return self._state.last in self._used

    def _use(self, first: int, count: int) -> None:
        if first + count - 1 > self._state.last:
            raise Damaged(f"page {first} lies outside of it")
        pages = range(first, first + count)
        if not self._used.isdisjoint(pages):
            raise Damaged(f"page {first} is used twice")
        self._used.update(pages)


def _rank(key: bytes, integers: bool) -> bytes:
    """`key`, or for a number the bytes that have its place among the others."""
    if not integers:
        return key
    if len(key) not in (0, 8):
        raise Damaged("a number is not as long as it should be")
    return key if _BYTES == ">" else key[::-1]
