"""Objects that lie, raise, or change what is being read: an answer or an error, never a crash."""

import copy
import enum
import os
import subprocess
import sys
from typing import Any

import pytest

from grove import _core
from grove.exceptions import DataFormatException


class LyingDict(dict):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return 10**9

    def items(self) -> Any:
        return [("told", 1)]


class BrokenDict(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        raise RuntimeError("no")

    def get(self, *args: Any) -> Any:
        raise RuntimeError("no")


class LyingList(list):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return 10**9

    def __iter__(self) -> Any:
        raise RuntimeError("no")

    def __getitem__(self, index: Any) -> Any:
        raise RuntimeError("no")


class LyingTuple(tuple):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        raise RuntimeError("no")


class LyingText(str):
    def __str__(self) -> str:
        return "told"

    def __len__(self) -> int:
        return 10**9

    def encode(self, *args: Any) -> Any:
        raise RuntimeError("no")


class LyingNumber(int):
    def __int__(self) -> int:
        return 7

    def __str__(self) -> str:
        return "told"

    __repr__ = __str__


class LyingReal(float):
    def __float__(self) -> float:
        return 7.5

    def __repr__(self) -> str:
        return "told"


class Shy(enum.Enum):
    FIRST = 1

    @property
    def value(self) -> Any:
        raise RuntimeError("no")


class Textless:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class NotText:
    def __str__(self) -> Any:
        return 5


class LyingClass:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return dict

    def __str__(self) -> str:
        return "text"


class Mutating:
    """Changes the entry that it lies in while its text is made."""

    def __init__(self, entry: Any) -> None:
        self.entry = entry

    def __str__(self) -> str:
        self.entry.clear()
        self.entry.extend(range(100)) if isinstance(self.entry, list) else self.entry.update(
            (str(number), [number]) for number in range(100)
        )
        return "text"


class Key(str):
    """A key that changes its dict whenever it is compared."""

    target: dict[Any, Any] | None = None

    def __eq__(self, other: object) -> bool:
        if self.target is not None:
            self.target[f"more{len(self.target)}"] = 1
        return str.__eq__(self, other) is True

    __hash__ = str.__hash__


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (LyingDict(real=2), b'{"told":1}'),
        (BrokenDict(real=2), b'{"real":2}'),
        (LyingList([1, 2]), b"[1,2]"),
        (LyingTuple((1, 2)), b"[1,2]"),
        (LyingText("real"), b'"real"'),
        (LyingNumber(3), b"3"),
        (LyingReal(1.25), b"1.25"),
        (LyingReal("nan"), b"NaN"),
        (Textless(), b'"<tests.core.test_hostile.Textless>"'),
        (NotText(), b'"<tests.core.test_hostile.NotText>"'),
        ({Textless(): 1}, b'{"<tests.core.test_hostile.Textless>":1}'),
        ({LyingText("real"): LyingNumber(3)}, b'{"real":3}'),
        ({LyingNumber(3): 1, LyingReal(1.5): 2}, b'{"1.5":2,"3":1}'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_an_object_holds_counts_and_not_what_it_says(value: Any, form: bytes) -> None:
    assert _core.canonical(value) == form
    assert _core.canonical([2**70, value]) == b"[%d,%s]" % (2**70, form)
    page = _core.encode([{"a": value}], {"c": 1})
    assert page.hash(0) == _core.hash_entry({"a": value})
    assert page.data.endswith(b',"_grove":{"c":1}}\n')


def test_an_entry_of_a_class_of_its_own_is_what_it_says_it_holds() -> None:
    page = _core.encode([LyingDict(a=1), BrokenDict(b=[2])], {"c": 1})
    assert page.data == b'{"told":1,"_grove":{"c":1}}\n{"b":[2],"_grove":{"c":1}}\n'
    assert [page.hash(0), page.hash(1)] == [_core.hash_entry({"told": 1}), _core.hash_entry({"b": [2]})]


def test_members_of_an_enumeration_whose_value_raises_are_their_text() -> None:
    assert _core.canonical([Shy.FIRST]) == b'["Shy.FIRST"]'
    assert _core.canonical([2**70, Shy.FIRST]) == b'[%d,"Shy.FIRST"]' % 2**70


def test_a_class_that_is_only_claimed() -> None:
    assert _core.encode([{"a": LyingClass()}], None).count == 1
    assert isinstance(_core.canonical(LyingClass()), bytes)
    with pytest.raises(DataFormatException, match="LyingClass"):
        _core.encode([LyingClass()], None)


@pytest.mark.parametrize("make", [dict, list])
def test_entries_that_change_while_they_are_read(make: Any) -> None:
    for call in (
        lambda entry: _core.canonical(entry),
        lambda entry: _core.encode([{"a": entry}], {"c": 1}),
        lambda entry: _core.canonical([float("nan"), entry]),
        lambda entry: _core.copy_entry(entry),
    ):
        entry = make()
        hostile = [Mutating(entry) for _ in range(3)]
        entry.extend(hostile) if make is list else entry.update(enumerate(hostile))
        assert call(entry)
        entry = make()
        hostile = [Mutating(entry) for _ in range(3)]
        entry.extend(hostile) if make is list else entry.update((str(n), item) for n, item in enumerate(hostile))
        assert call(entry)


def test_keys_that_change_their_dict_when_compared() -> None:
    entry: dict[Any, Any] = {Key("a"): [1], Key("_grove"): {"own": 1}, "b": {"c": 1}}
    for key in entry:
        if isinstance(key, Key):
            key.target = entry
    assert _core.pointer_path("a").pointers([entry]) == ["[1]"]
    assert _core.encode([entry], {"c": 1}).count == 1
    assert _core.copy_entry(entry)["b"] == {"c": 1}
    assert len(_core.hash_entry(entry)) == 32


def test_pointers_that_raise_are_none() -> None:
    entries = [BrokenDict(a=1), {"a": Textless()}, {"a": NotText()}, {"a": LyingText("real")}, {"a": 1}]
    assert _core.pointer_path("a").pointers(entries) == [None, None, None, "told", "1"]
    with pytest.raises(RuntimeError, match="no"):
        _core.pointer_path("a").search(entries[0])


def test_lists_that_shrink_under_a_hasher() -> None:
    entries: list[Any] = [{"n": n} for n in range(10)]
    pointers: list[str | None] = ["p"] * 10

    def hasher(entry: Any) -> str:
        entries.clear()
        pointers.clear()
        return "0" * 32

    seen = _core.Seen()
    seen.add("p", ["1" * 32])
    with pytest.raises(IndexError):
        seen.unseen(entries, pointers, hasher)
    entries.extend({"n": n} for n in range(10))
    pointers.extend(["p"] * 10)
    with pytest.raises(IndexError):
        _core.dedup_by_pointer(entries, pointers, "p", False, set(), hasher)


def test_a_hasher_that_raises() -> None:
    def hasher(entry: Any) -> str:
        raise KeyError("mine")

    seen = _core.Seen()
    seen.add("p", ["1" * 32])
    with pytest.raises(KeyError, match="mine"):
        seen.unseen([{}], ["p"], hasher)
    with pytest.raises(KeyError, match="mine"):
        _core.group_hashes([{}], ["p"], hasher)


def test_interrupts_pass() -> None:
    class Interrupting:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    for call in (_core.canonical, _core.hash_entry, lambda value: _core.encode([{"a": value}], None)):
        with pytest.raises(KeyboardInterrupt):
            call(Interrupting())
    with pytest.raises(KeyboardInterrupt):
        _core.pointer_path("a").pointers([{"a": Interrupting()}])


@pytest.mark.parametrize(
    "call",
    [
        lambda: _core.encode(None, None),  # type: ignore[arg-type]
        lambda: _core.encode(({},), None),  # type: ignore[arg-type]
        lambda: _core.encode([{}], [1]),  # type: ignore[arg-type]
        lambda: _core.rank(None),  # type: ignore[arg-type]
        lambda: _core.rank(5),  # type: ignore[arg-type]
        lambda: _core.order(None),  # type: ignore[arg-type]
        lambda: _core.PointerPath(5),  # type: ignore[arg-type]
        lambda: _core.pointer_path("a").pointers(None),  # type: ignore[arg-type]
        lambda: _core.Seen().unseen(None, []),  # type: ignore[arg-type]
        lambda: _core.Seen().unseen([{}], [[]]),  # type: ignore[list-item]
        lambda: _core.Seen().add(None, []),  # type: ignore[arg-type]
        lambda: _core.Seen().remember(["p"], None),  # type: ignore[arg-type]
        lambda: _core.Seen("a"),  # type: ignore[arg-type]
        lambda: _core.group_hashes(None, []),  # type: ignore[arg-type]
        lambda: copy.copy(_core.encode([{}], None)),
    ],
)
def test_wrong_types_are_type_errors(call: Any) -> None:
    with pytest.raises(TypeError):
        call()


def test_objects_that_were_not_made_properly() -> None:
    assert len(_core.EncodedPage()) == 0
    assert _core.EncodedPage().data == b""
    with pytest.raises(IndexError):
        _core.EncodedPage().hash(0)
    seen = _core.Seen.__new__(_core.Seen)
    assert seen.unseen([{}], ["p"]) == [0]
    path = _core.PointerPath.__new__(_core.PointerPath)
    assert path.pointers([{}]) == [None]


def test_out_of_memory_is_an_error() -> None:
    # Only what does not go through orjson, which does not look whether it was given memory.
    code = """
import _testcapi
from grove import _core
entries = [{"a": {"b": [1, (2,)]}, "n": n} for n in range(4)]
pointers, page = ["1", "2", "1", None], _core.encode(entries, {"c": 1})
def work():
    _core.pointer_path("n").pointers(entries)
    _core.order(["1", "3", "2"])
    _core.order(["9" * 30, "1"])
    _core.copy_entry(entries)
    _core.dedup_by_pointer(entries, pointers, "1", False, set(), lambda entry: "h")
    seen = _core.Seen(1)
    seen.add("1", ["0" * 32])
    seen.remember(pointers, page)
    seen.remember_hashes(pointers, ["h"] * 4)
    seen.remember_hashes(["1"], ["h"])
    seen.unseen(entries, pointers, lambda entry: "h")
work()
failed = 0
for number in range(1, 200):
    _testcapi.set_nomemory(number, number + 1)
    try:
        work()
    except MemoryError:
        failed += 1
    finally:
        _testcapi.remove_mem_hooks()
work()
print("failed", failed > 20)
"""
    pytest.importorskip("_testcapi")
    # Whatever measures the coverage of child processes would be short of memory too.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, "failed True"), done.stderr[-2000:]


@pytest.mark.skipif("GROVE_SANITIZE" in os.environ, reason="a sanitizer ends the process that has no memory left")
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="how much is in use is told by /proc")
def test_a_page_that_does_not_fit_into_memory_is_an_error() -> None:
    code = """
import resource
from grove import _core
many, large, text = [{}] * 8_000_000, [{"text": "x" * 2**20}] * 100, b"[" + b"{}," * 2_000_000 + b"{}]"
few = _core.RawPage(b"[{}, {}]")
pages = [few] * 4_000_000
for work in (
    lambda: _core.encode(many, None),
    lambda: _core.encode(large, None),
    lambda: _core.RawPage(text),
    lambda: few.take(range(8_000_000)),
    lambda: _core.RawPage.joined(pages),
):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    unlimited = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**25, unlimited[1]))
    try:
        work()
    except MemoryError:
        print("refused")
    resource.setrlimit(resource.RLIMIT_AS, unlimited)
print(_core.encode(large[:1], None).count, len(_core.RawPage(text)), len(few))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    expected = [*["refused"] * 5, "1", "2000001", "2"]
    assert (done.returncode, done.stdout.split()) == (0, expected), done.stderr[-2000:]
