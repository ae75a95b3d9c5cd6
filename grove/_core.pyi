"""Hashing, deduplication, pointers and encoding of pages of entries: bytes and dicts in, bytes and dicts out.

No function changes the entries it is given, and none depends on the order in which an entry's keys come, but
`encode`, which keeps it. Hashes are 32 hexadecimal characters. `hasher` stands in for `hash_entry` where a
connector has its own. Lists that belong together (`entries`, `pointers`) must be of one length: ValueError.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar, final

from typing_extensions import Buffer

_T = TypeVar("_T")
_Hasher = Callable[[Any], str]

def canonical(entry: object) -> bytes:
    """The bytes that stand for an entry: compact JSON with sorted keys, in UTF-8.

    Two different entries never share them, with one exception: a value or key that JSON does not know is the
    same as its string form. NaN and the infinities are bare words, integers are exact, lone surrogates are
    escapes. DataFormatException for an entry that contains itself.
    """

def hash_entry(entry: object) -> str:
    """BLAKE3 of `canonical(entry)`, 128 bits. DataFormatException for an entry that contains itself."""

def group_hashes(entries: list[Any], pointers: list[str | None], hasher: _Hasher | None = None) -> dict[str, set[str]]:
    """The hashes of the entries, by pointer; entries without one are left out."""

def copy_entry(value: _T) -> _T:
    """A copy of a value that shares no dict or list with it, of any depth.

    Values that cannot change are shared, and so are objects of types that JSON does not know.
    DataFormatException for a value that contains itself, or holds a subclass of dict, list or tuple that
    `copy.deepcopy` cannot copy.
    """

@final
class PointerPath:
    """A compiled JMESPath expression. ValueError, which names the expression, if it is none."""

    def __init__(self, expression: str) -> None: ...
    @property
    def expression(self) -> str: ...
    def search(self, entry: object) -> Any:
        """The value in an entry, as `jmespath.search` finds it; None where there is none."""

    def pointers(self, entries: list[Any]) -> list[str | None]:
        """The value in each entry as `str()` writes it. None where it is None or "", or cannot be had."""

def pointer_path(expression: str) -> PointerPath:
    """The compiled form of an expression, kept for the next time."""

def rank(pointer: str) -> tuple[int, int] | None:
    """What kind of pointer this is, and a number by which those of one kind compare; None for an opaque one.

    (1, the integer), (2, nanoseconds since 1970 in UTC) for ISO 8601 and e-mail dates with a time, or
    (3, days since 1970) for YYYY-MM-DD. A time without a zone is UTC.
    """

class Order(NamedTuple):
    """How the pointers of a page lie. Of equal pointers, `low` and `high` are the first; equals ascend and descend."""

    kind: int
    low: str
    high: str
    low_rank: int
    high_rank: int
    ascending: bool
    descending: bool

def order(pointers: list[str]) -> Order | None:
    """The order of pointers that are all of one kind (see `rank`); None for others, and for none at all."""

@final
class EncodedPage:
    """Encoded entries: made by `encode`. Their bytes are also to be had as a buffer, without a copy."""

    @property
    def data(self) -> bytes:
        """A copy: one line of UTF-8 for each entry, each ending in a newline."""

    def shrink(self, packed: bytes) -> None:
        """Keep `packed`, which has to be `gzip(self)`, in place of the lines, where it is shorter."""

    @property
    def count(self) -> int: ...
    def __len__(self) -> int: ...
    if sys.version_info >= (3, 12):
        def __buffer__(self, flags: int, /) -> memoryview: ...
    def hash(self, index: int) -> str:
        """The hash that an entry had when it was encoded, worked out when asked for. IndexError."""

def encode(entries: list[Any], metadata: dict[str, Any] | None) -> EncodedPage:
    """Entries as lines of compact JSON that keep the order of keys, with `metadata` as the last one, `_grove`.

    What JSON does not know is written as `str()` does (sets in a fixed order), an Enum as its value, a tuple
    as a list, NaN and the infinities as the strings "NaN", "Infinity" and "-Infinity". An entry's own
    `_grove` object keeps the keys that `metadata` has not; one that is no object becomes `_grove.original`.
    DataFormatException for an entry that is no dict, or contains itself.
    """

def gzip(data: Buffer | EncodedPage, level: int = 1) -> bytes:
    """One gzip member of bytes, an EncodedPage or any other buffer, without name or time; `level` is 0 to 3 (smallest).

    The interpreter is free meanwhile.
    """

@final
class Seen:
    """What was delivered already, by pointer: for good (`add`), or lately (`remember`)."""

    def __init__(self, max_bytes: int = 33554432) -> None:
        """`max_bytes` is about what remembered pages may take up; the older half goes first."""

    def add(self, pointer: str, hashes: Iterable[str], legacy: bool = False) -> None:
        """Entries with this pointer and one of these hashes are known.

        `legacy` hashes are those of Grove 2.x (MD5). An entry that meets one is known by its hash of today,
        too.
        """

    def add_anywhere(self, hashes: Iterable[str]) -> None:
        """Entries with one of these hashes are known if they have no pointer, or a known one."""

    def remember(self, pointers: list[str | None], page: EncodedPage) -> None:
        """The entries of a page were delivered in this run. Nothing is hashed until a pointer comes again."""

    def remember_hashes(self, pointers: list[str | None], hashes: list[str]) -> None:
        """As `remember`, for entries whose hashes are at hand."""

    def hashes(self, pointer: str) -> set[str]:
        """Every hash known for this pointer, but for legacy ones that no entry has met."""

    def unseen(self, entries: list[Any], pointers: list[str | None], hasher: _Hasher | None = None) -> list[int]:
        """The indexes of the entries that are not known, in order.

        Entries whose pointer is new are not hashed. Two equal entries in one call are both known or both not.
        """

def dedup_by_pointer(
    entries: list[_T],
    pointers: list[str | None],
    pointer: str,
    newest_first: bool,
    known: set[str] | None,
    hasher: _Hasher | None = None,
) -> list[_T]:
    """What a page holds beyond `pointer`; the same list where no entry carries it.

    Oldest first, that is what follows the last entry that carries it; newest first, what precedes the first
    one. With `known`, entries that carry it are kept as well if their hash is not among these.
    """
