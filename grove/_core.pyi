"""Hashing, deduplication, pointers and encoding of pages of entries: bytes and dicts in, bytes and dicts out.

No function changes the entries it is given, and none depends on the order in which an entry's keys come, but
`encode`, which keeps it. Hashes are 32 hexadecimal characters. `hasher` stands in for `hash_entry` where a
connector has its own. Lists that belong together (`entries`, `pointers`) must be of one length: ValueError.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, final, overload

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

    def pointers(self, entries: list[Any] | RawPage) -> list[str | None]:
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

def order(pointers: list[str | None]) -> Order | None:
    """The order of pointers that are all of one kind (see `rank`), None left out; None for others, and for none."""

@final
class RawPage:
    """The entries of a page that is still text: the body of a response, and where in it the list of entries is.

    It is a sequence of entries. One that is asked for (by index, or by going through the page) is decoded, as the
    standard json module does it, and kept, so that changes to it count; one that nobody asks for never is, and is
    delivered in the very bytes that the source sent, without line breaks between tokens.
    """

    def __init__(self, body: bytes, path: str = "", pointer_path: str = "") -> None:
        """`body` is JSON (UTF-8, or as its first bytes tell), `path` leads to the list by names with dots between them.

        Of several members of one name the last counts, and entries that are null are left out. What is nothing but
        what the standard json module accepts (NaN, the infinities, lone surrogates) is accepted; bytes that are no
        text become U+FFFD, and an integer of more digits than Python reads becomes a text. `pointer_path` may say
        already where the pointer of each entry will be looked for. DataFormatException names the byte where the body
        is cut off, no JSON, or nested more than 1,000 levels deep; ValueError for a path of another kind, or of more
        than 16 names.
        """

    @property
    def body(self) -> bytes:
        """All of the text, in UTF-8."""

    @property
    def kind(self) -> str:
        """What is at the path: "list", "nothing" (also for null), or the name of another Python type."""

    @property
    def stranger(self) -> str | None:
        """The Python type of the first entry that is no object; None where all are."""

    @property
    def odd(self) -> bool:
        """Whether something in it is JSON to the standard json module alone, or no UTF-8."""

    def __eq__(self, other: object, /) -> bool:
        """Whether both have the same entries in the same bytes; what was changed since does not count."""
    __hash__: None  # type: ignore[assignment]
    def envelope(self) -> Any:
        """The whole body, decoded, with an empty list in the place of the entries."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, where: int, /) -> Any: ...
    @overload
    def __getitem__(self, where: slice, /) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...
    def copies(self) -> Iterator[Any]:
        """Each entry as an object of its own, which may be changed without harm and is not kept."""

    def take(self, indexes: Sequence[int]) -> RawPage:
        """A page of some of the entries, with the same text. IndexError."""

    @staticmethod
    def joined(pages: list[RawPage]) -> RawPage:
        """The entries of all pages, one after the other, as one; of what was around them nothing is left."""

class _Compressor(Protocol):
    def compress(self, data: memoryview, /) -> bytes: ...
    def flush(self) -> bytes: ...

class _Codec(Protocol):
    def compressor(self) -> _Compressor: ...
    def decompress(self, data: bytes, /) -> bytes: ...

@final
class EncodedPage:
    """Encoded entries: made by `encode`."""

    @property
    def data(self) -> bytes:
        """One line of UTF-8 for each entry, each ending in a newline."""

    @property
    def packed(self) -> bytes | None:
        """The same, compressed, where a codec was given."""

    def shrink(self) -> None:
        """Keep what is compressed only, where there is that."""

    @property
    def count(self) -> int: ...
    def __len__(self) -> int: ...
    def hash(self, index: int) -> str:
        """The hash that an entry had when it was encoded, worked out when asked for. IndexError."""

def encode(entries: list[Any] | RawPage, metadata: dict[str, Any] | None, codec: _Codec | None = None) -> EncodedPage:
    """Entries as lines of compact JSON that keep the order of keys, with `metadata` as the last one, `_grove`.

    What JSON does not know is written as `str()` does (sets in a fixed order), an Enum as its value, a tuple
    as a list, NaN and the infinities as the strings "NaN", "Infinity" and "-Infinity". An entry's own
    `_grove` object keeps the keys that `metadata` has not; one that is no object becomes `_grove.original`.
    An entry of a RawPage that nobody has changed, and that needs none of this, keeps its own text.
    With a codec the lines are compressed as they are made, and only that is kept.
    DataFormatException for an entry that is no dict, or contains itself.
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

    def unseen(
        self, entries: list[Any] | RawPage, pointers: list[str | None], hasher: _Hasher | None = None
    ) -> list[int]:
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
