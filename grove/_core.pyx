# cython: language_level=3, binding=True
# cython: warn.unused=True, warn.maybe_uninitialized=True, auto_pickle=False, autotestdict=False
"""Hashing, deduplication, pointers and encoding of pages of entries: bytes and dicts in, bytes and dicts out.

Entries that orjson can write exactly take the fast road. What it would change or refuse (not-finite floats,
integers beyond 64 bits, lone surrogates, keys that are no strings, deep nesting) takes `_exact`, which is slower
and has no limits. A plain twin of everything here is `tests/reference.py`.
"""

cimport cython
from cpython.buffer cimport PyBUF_READ
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeASCII, PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from grove cimport _scan

import copy as _copy
import functools
import hashlib
import json
import re
from bisect import bisect_left
from collections import OrderedDict, defaultdict
from email.utils import parsedate_tz
from enum import Enum
from operator import itemgetter
from typing import NamedTuple

import orjson
from blake3 import blake3

from grove.exceptions import DataFormatException


cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(dict mapping, object key) except? NULL
    PyObject *PyDict_SetDefault(dict mapping, object key, object value) except NULL
    bint PyUnicode_IS_COMPACT_ASCII(object text) noexcept
    void *PyUnicode_DATA(object text) noexcept
    str PyUnicode_New(Py_ssize_t size, Py_UCS4 highest)
    void *PyMem_RawMalloc(size_t size) noexcept
    void PyMem_RawFree(void *block) noexcept
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1
    Py_ssize_t PyUnicode_GET_LENGTH(object text) noexcept
    double PyFloat_AS_DOUBLE(PyObject *value) noexcept
    bint PyType_IsSubtype(void *left, void *right) noexcept
    void *Py_TYPE(PyObject *value) noexcept
    Py_ssize_t PyList_GET_SIZE(PyObject *value) noexcept
    PyObject *PyList_GET_ITEM(PyObject *value, Py_ssize_t index) noexcept
    Py_ssize_t PyTuple_GET_SIZE(PyObject *value) noexcept
    PyObject *PyTuple_GET_ITEM(PyObject *value, Py_ssize_t index) noexcept
    bint isfinite(double value) noexcept nogil

# ------------------------------------------------------------------------------------------------------------
# canonical: the bytes that stand for an entry
# ------------------------------------------------------------------------------------------------------------

cdef object _dumps = orjson.dumps
cdef object _loads = orjson.loads
cdef object _JSONEncodeError = orjson.JSONEncodeError

# orjson's own idea of these types differs from str()'s; `_plain` decides.
_PASS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
cdef object _AS_IS = _PASS
cdef object _SORTED = _PASS | orjson.OPT_SORT_KEYS
cdef object _ORDERED = OrderedDict, _DEFAULT = defaultdict, _ENUM = Enum
# Each level may count twice in orjson, which stops at 254.
cdef int _DEPTH = 120
cdef object _SURROGATE = re.compile("[\ud800-\udfff]")
cdef frozenset _EXACT_TYPES = frozenset({str, int, float, bool, type(None), dict, list, tuple})
# int() and str() of more digits may be refused by the interpreter, which can be set as low as this.
cdef object _SAFE_DIGITS = 640


def _text_of(value):
    """str(value), the same in every process where its type allows that; never fails."""
    try:
        if isinstance(value, (set, frozenset)):
            return _text_of_set(value)
        text = str(value)
    except MemoryError:
        raise
    except Exception:
        return f"<{type(value).__module__}.{type(value).__qualname__}>"
    return text if type(text) is str else str.__str__(text)


def _text_of_set(value):
    kinds = {type(item) for item in value}
    if kinds == {str} or kinds == {int}:
        texts = [repr(item) for item in sorted(value)]
    else:
        texts = sorted(
            [_text_of_set(item) if isinstance(item, frozenset) else repr(item) for item in value]
        )
    inner = f"{{{', '.join(texts)}}}" if texts else ""
    return inner if type(value) is set and inner else f"{type(value).__name__}({inner})"


def _plain(value):
    """What stands in JSON for a value that is not exactly one of JSON's own types."""
    if isinstance(value, Enum):
        try:
            inner = value.value
        except Exception:
            inner = value
        return _text_of(value) if isinstance(inner, Enum) else inner
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__pos__(value)
    if isinstance(value, dict):
        return _members(value)
    if isinstance(value, list):
        return list.copy(value)
    if isinstance(value, tuple):
        return tuple(tuple.__iter__(value))
    return _text_of(value)


def _members(value):
    """What a subclass of dict says it holds; what it does hold if that makes no sense."""
    try:
        return dict(value.items())
    except Exception:
        return dict.copy(value)


cdef bint _is_odd(PyObject *value, int depth) noexcept:
    """Whether a value needs the slow road: a float that is not finite, a type that might hide one, or nesting.

    orjson would write NaN as null, and it overruns its stack where tuples are nested or lead round in a circle.
    Runs no Python code, so that what it walks through stays as it is.
    """
    cdef void *kind = Py_TYPE(value)
    cdef Py_ssize_t position = 0
    cdef PyObject *key = NULL
    cdef PyObject *item = NULL
    if kind == <void *>str or value == <PyObject *>None or kind == <void *>int or kind == <void *>bool:
        return False
    if kind == <void *>float:
        return not isfinite(PyFloat_AS_DOUBLE(value))
    if depth == 0:
        return True
    if kind == <void *>dict:
        while PyDict_Next(<object>value, &position, &key, &item):
            if Py_TYPE(item) != <void *>str and _is_odd(item, depth - 1):
                return True
        return False
    if PyType_IsSubtype(kind, <void *>list):
        for position in range(PyList_GET_SIZE(value)):
            item = PyList_GET_ITEM(value, position)
            if Py_TYPE(item) != <void *>str and _is_odd(item, depth - 1):
                return True
        return False
    if PyType_IsSubtype(kind, <void *>tuple):
        for position in range(PyTuple_GET_SIZE(value)):
            item = PyTuple_GET_ITEM(value, position)
            if Py_TYPE(item) != <void *>str and _is_odd(item, depth - 1):
                return True
        return False
    if kind == <void *>_ORDERED or kind == <void *>_DEFAULT:  # their items() are those of a dict
        while PyDict_Next(<object>value, &position, &key, &item):
            if _is_odd(item, depth - 1):
                return True
        return False
    return (
        PyType_IsSubtype(kind, <void *>dict)
        or PyType_IsSubtype(kind, <void *>float)
        or PyType_IsSubtype(kind, <void *>_ENUM)
    )


cdef bytes _fast(object value, object option):
    """The JSON of a value, or None if orjson cannot write it exactly."""
    if _is_odd(<PyObject *>value, _DEPTH):
        return None
    try:
        return _dumps(value, _plain, option)
    except _JSONEncodeError as err:
        if err.__cause__ is not None and not isinstance(err.__cause__, Exception):
            raise err.__cause__ from None
        return None


def canonical(entry: object) -> bytes:
    cdef bytes data = _fast(entry, _SORTED)
    return _exact(entry, True) if data is None else data


def _digits(value):
    """An integer in decimal, however long it is."""
    try:
        return int.__repr__(value)
    except ValueError:
        pass
    sign, value, unit = ("-" if value < 0 else ""), abs(value), 10**_SAFE_DIGITS
    groups = []
    while value:
        value, group = divmod(value, unit)
        groups.append(str(group).zfill(_SAFE_DIGITS))
    return sign + "".join(reversed(groups)).lstrip("0")


def _quoted(text):
    """A string in JSON; lone surrogates, which UTF-8 cannot hold, as escapes."""
    try:
        return _dumps(text)
    except _JSONEncodeError:
        pass
    parts, end = [b'"'], 0
    for match in _SURROGATE.finditer(text):
        parts.append(_dumps(text[end:match.start()])[1:-1])
        parts.append(b"\\u%04x" % ord(match.group()))
        end = match.end()
    parts.append(_dumps(text[end:])[1:-1] + b'"')
    return b"".join(parts)


def _key_of(key):
    """A key as the standard json module writes it; anything it refuses as str() does."""
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or key is True or key is False:
        return "null" if key is None else "true" if key else "false"
    if isinstance(key, int):
        return _digits(int.__int__(key))
    if isinstance(key, float):
        key = float.__pos__(key)
        return float.__repr__(key) if isfinite(key) else _odd_name(key)
    return _text_of(key)


def _odd_name(value):
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _leaf(value, is_canonical):
    if isinstance(value, str):
        return _quoted(value)
    if value is None or value is True or value is False:
        return b"null" if value is None else b"true" if value else b"false"
    if isinstance(value, int):
        return _digits(value).encode()
    if isfinite(value):
        return _dumps(value)
    name = _odd_name(value).encode()
    return name if is_canonical else b'"' + name + b'"'


def _exact(root, is_canonical):
    """The JSON of any value of any depth, without recursion. DataFormatException if it contains itself."""
    parts = []  # the text so far, in pieces
    frames = []  # the open containers, the innermost last
    open_ids = set()
    value = root
    while True:
        source = value
        while type(value) not in _EXACT_TYPES:
            value = _plain(value)
        if isinstance(value, (dict, list, tuple)):
            if id(source) in open_ids:
                raise DataFormatException("An entry contains itself, so it cannot be written as JSON.")
            open_ids.add(id(source))
            frame = _Frame(source, value, is_canonical)
            frames.append(frame)
            parts.append(b"[" if frame.keys is None else b"{")
        else:
            parts.append(_leaf(value, is_canonical))
        while True:  # go on to the next child of the innermost container that has one
            if not frames:
                return b"".join(parts)
            frame = frames[-1]
            if frame.starts:
                frame.ends.append(len(parts))
            index = len(frame.starts)
            if index < len(frame.children):
                if index:
                    parts.append(b",")
                if frame.keys is not None:
                    parts.append(_quoted(frame.keys[index]) + b":")
                frame.starts.append(len(parts))
                value = frame.children[index]
                break
            frames.pop()
            open_ids.discard(id(frame.source))
            if frame.keys is None:
                parts.append(b"]")
                continue
            if is_canonical and len(set(frame.keys)) < index:
                frame.sort_by_value(parts)
            parts.append(b"}")


class _Frame:
    """A container that is being written. `source` is what it was made from: its id must not be given away."""

    __slots__ = ("children", "ends", "keys", "source", "starts")

    def __init__(self, source, value, is_canonical):
        self.source = source
        self.keys = None
        self.children = value
        if isinstance(value, dict):
            members = [(_key_of(key), item) for key, item in value.items()]
            if is_canonical:
                members.sort(key=itemgetter(0))  # by code point, which is how orjson sorts their UTF-8
            self.keys = [key for key, _ in members]
            self.children = [item for _, item in members]
        self.starts = []  # where the text of each child begins in `parts`
        self.ends = []

    def sort_by_value(self, parts):
        """Some keys became the same as text: put their members in the order of their values."""
        members = [
            (key, b"".join(parts[start:end])) for key, start, end in zip(self.keys, self.starts, self.ends, strict=True)
        ]
        del parts[self.starts[0] - 1:]
        parts.append(b",".join([_quoted(key) + b":" + text for key, text in sorted(members)]))


# ------------------------------------------------------------------------------------------------------------
# hash, copy
# ------------------------------------------------------------------------------------------------------------

cdef object _blake3 = blake3
# Making a hasher costs as much as hashing 150 bytes, so one is kept. Hashing long input lets other threads run:
# whoever finds it taken makes one.
cdef object _hasher = blake3()
cdef object _update = _hasher.update
cdef object _finish = _hasher.digest
cdef object _reset = _hasher.reset
cdef bint _taken = False
cdef const char* _HEX = b"0123456789abcdef"


cdef str _digest(bytes data):
    """BLAKE3, 128 bits, in hexadecimal."""
    global _taken
    cdef str text = PyUnicode_New(32, 127)
    cdef unsigned char* place = <unsigned char*>PyUnicode_DATA(text)
    cdef const unsigned char* raw
    cdef bytes found
    cdef int index
    if _taken:
        found = _blake3(data).digest()
    else:
        _taken = True
        try:
            _reset()
            _update(data)
            # The first half of 256 bits is what 128 bits would be.
            found = _finish()
        finally:
            _taken = False
    raw = <const unsigned char*>PyBytes_AS_STRING(found)
    for index in range(16):
        place[2 * index] = _HEX[raw[index] >> 4]
        place[2 * index + 1] = _HEX[raw[index] & 15]
    return text


def hash_entry(entry: object) -> str:
    cdef bytes data = _fast(entry, _SORTED)
    return _digest(_exact(entry, True) if data is None else data)


def group_hashes(entries: list, pointers: list, hasher=None) -> dict:
    cdef dict groups = {}
    _same_length(entries, pointers)
    for entry, pointer in zip(entries, pointers):
        if pointer is not None:
            groups.setdefault(pointer, set()).add(hash_entry(entry) if hasher is None else hasher(entry))
    return groups


cdef RawPage _raw_page(object entries):
    """`entries`, if they are still text; None for a list. TypeError for anything else."""
    if type(entries) is RawPage:
        return <RawPage>entries
    if not isinstance(entries, list):
        raise TypeError(f"A page is a list or a RawPage, not {type(entries).__name__}.")
    return None


cdef int _same_length(object entries, list pointers) except -1:
    if len(entries) != len(pointers):
        raise ValueError(f"There are {len(entries)} entries, but {len(pointers)} pointers.")
    return 0


def copy_entry(value):
    return _copied(value, 200)


cdef object _copied(object value, int depth):
    cdef object kind = type(value)
    if kind is str or kind is int or kind is float or kind is bool or value is None:
        return value
    if kind is dict:
        return _copied_deep(value) if depth == 0 else _copied_dict(<dict>value, depth - 1)
    if kind is list:
        return _copied_deep(value) if depth == 0 else [_copied(item, depth - 1) for item in <list>value]
    if kind is tuple:
        return _copied_deep(value) if depth == 0 else tuple([_copied(item, depth - 1) for item in <tuple>value])
    return _copied_other(value)


cdef dict _copied_dict(dict value, int depth):
    """Copied at once, which is fast; then each value that is not the same in the copy is replaced."""
    cdef dict result = value.copy()
    cdef Py_ssize_t position = 0
    cdef PyObject *key = NULL
    cdef PyObject *item = NULL
    while PyDict_Next(result, &position, &key, &item):
        if Py_TYPE(item) == <void *>str or Py_TYPE(item) == <void *>int or item == <PyObject *>None:
            continue
        if Py_TYPE(key) != <void *>str:  # its __eq__ might change what is iterated
            return {name: _copied(member, depth) for name, member in value.items()}
        fresh = _copied(<object>item, depth)
        if <PyObject *>fresh != item:
            result[<object>key] = fresh
    return result


def _copied_other(value):
    if type(value) is set or type(value) is bytearray:
        return value.copy()
    if isinstance(value, (dict, list, tuple, set, bytearray)):
        try:
            return _copy.deepcopy(value)
        except Exception as err:
            raise DataFormatException(
                f"An entry holds a {type(value).__name__} that cannot be copied; save plain dicts and lists."
            ) from err
    return value


def _copied_deep(root):
    """As `copy_entry`, for nesting of any depth. A tuple is built when all its items are."""
    result = []
    open_ids = set()
    stack = [(iter((root,)), None, result, None)]
    while True:
        children, keys, made, source = stack[-1]
        try:
            value = next(children)
        except StopIteration:
            stack.pop()
            if not stack:
                return result[0]
            open_ids.discard(id(source))
            if type(source) is dict:
                made = dict(zip(keys, made))
            elif type(source) is tuple:
                made = tuple(made)
            stack[-1][2].append(made)
            continue
        if type(value) not in (dict, list, tuple):
            made.append(_copied_other(value))
            continue
        if id(value) in open_ids:
            raise DataFormatException("An entry contains itself, so it cannot be copied.")
        open_ids.add(id(value))
        keys = list(value) if type(value) is dict else None
        stack.append((iter(list(value.values()) if keys is not None else value), keys, [], value))


# ------------------------------------------------------------------------------------------------------------
# pointer
# ------------------------------------------------------------------------------------------------------------

_SPACE = r"[ \t\r\n]*"
_NAME = r'[A-Za-z_][A-Za-z0-9_]*|"(?:[^"\\]|\\.)*"'
cdef object _NAMES = re.compile(rf"{_SPACE}(?:{_NAME})(?:{_SPACE}\.{_SPACE}(?:{_NAME}))*{_SPACE}", re.DOTALL)
cdef object _ONE_NAME = re.compile(_NAME, re.DOTALL)


def _names_of(expression):
    """The names of a plain or dotted expression; None for other JMESPath."""
    if expression.strip(" \t\r\n") == "@":
        return ()
    if _NAMES.fullmatch(expression) is None:
        return None
    try:
        return tuple(
            [json.loads(name) if name.startswith('"') else name for name in _ONE_NAME.findall(expression)]
        )
    except ValueError:  # jmespath says what is wrong with it
        return None


def _compiled(expression):
    import jmespath

    try:
        return jmespath.compile(expression)
    except (ValueError, RecursionError) as err:
        raise ValueError(f"The pointer path {expression!r} is not a JMESPath expression: {err}") from err


cdef inline object _get(object value, str name):
    cdef PyObject *found
    if type(value) is dict:
        found = PyDict_GetItemWithError(<dict>value, name)
        return None if found == NULL else <object>found
    return _get_other(value, name)


cdef object _get_other(object value, str name):
    try:
        return value.get(name)
    except AttributeError:
        return None


cdef inline object _pointer_of(object value):
    """The text of a pointer; None where there is none."""
    if value is None:
        return None
    if type(value) is int:
        return _decimal(value)
    if type(value) is not str:
        value = str(value)
        if type(value) is not str:
            value = str.__str__(value)
    return value if PyUnicode_GET_LENGTH(value) else None


cdef const char *_PAIRS = (
    b"00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
    b"49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
    b"9899"
)


@cython.cdivision(True)
cdef str _decimal(object value):
    """str() of an int, in a third of its time: a page of pointers may be a thousand of them."""
    cdef int overflow = 0, place = 20, pair
    cdef long long given = PyLong_AsLongLongAndOverflow(value, &overflow)
    cdef unsigned long long number = <unsigned long long>given
    cdef char[20] digits
    if overflow or given < 0:
        return str(value)
    while number >= 10:
        pair = 2 * <int>(number % 100)
        number //= 100
        place -= 2
        digits[place], digits[place + 1] = _PAIRS[pair], _PAIRS[pair + 1]
    if number or place == 20:
        place -= 1
        digits[place] = <char>(48 + number)
    text = PyUnicode_New(20 - place, 127)
    memcpy(PyUnicode_DATA(text), digits + place, 20 - place)
    return text


@cython.final
cdef class PointerPath:
    cdef readonly str expression
    cdef tuple _names
    cdef str _only
    cdef object _expression

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self._names = _names_of(expression)
        self._only = self._names[0] if self._names is not None and len(self._names) == 1 else None
        self._expression = _compiled(expression) if self._names is None else None

    def __repr__(self):
        return f"PointerPath({self.expression!r})"

    cdef object _search(self, object entry):
        if self._only is not None:
            return _get(entry, self._only)
        if self._names is None:
            return self._expression.search(entry)
        for name in self._names:
            entry = _get(entry, <str>name)
        return entry

    def search(self, entry: object) -> object:
        return self._search(entry)

    def pointers(self, entries: list | RawPage) -> list:
        cdef list found = []
        cdef RawPage raw = _raw_page(entries)
        if raw is not None:
            return raw._pointers(self)
        for entry in entries:
            try:
                found.append(_pointer_of(self._search(entry)))
            except MemoryError:
                raise
            except Exception:  # the function of an expression, or a hostile __str__
                found.append(None)
        return found


@functools.lru_cache(maxsize=256)
def _pointer_path(expression):
    return PointerPath(expression)


def pointer_path(expression: str) -> PointerPath:
    return _pointer_path(expression)


# ------------------------------------------------------------------------------------------------------------
# rank and order
# ------------------------------------------------------------------------------------------------------------

cdef enum:
    OPAQUE = 0
    INTEGER = 1
    INSTANT = 2
    DATE = 3
    UNSURE = 4  # only Python's own integers or the e-mail parser can tell

cdef struct Value:
    int64_t whole  # the integer, the seconds, or the days
    int64_t nanos

cdef int *_DAYS = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
# With the zones that the e-mail parser knows: it takes any other for UTC.
cdef object _RFC_2822 = re.compile(
    r"(?:[A-Za-z]{3}, ?)?\d{1,2} [A-Za-z]{3} [1-9]\d{3} \d\d:\d\d(?::\d\d)? "
    r"(?:[+-](?:[01]\d|2[0-3])[0-5]\d|UTC?|GMT|Z|[ECMP][SD]T)",
    re.ASCII,
)


cdef inline int _two(const unsigned char *text) noexcept nogil:
    """Two digits as a number; negative if they are not digits."""
    cdef unsigned int tens = <unsigned int>text[0] - 48, units = <unsigned int>text[1] - 48
    return <int>(tens * 10 + units) if tens < 10 and units < 10 else -1


@cython.cdivision(True)  # every operand is positive, every divisor a constant
cdef int64_t _days(int year, int month, int day) noexcept nogil:
    """Days since 1970-01-01; -1 << 62 if there is no such day."""
    cdef bint leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if year < 1 or month < 1 or month > 12 or day < 1 or day > _DAYS[month] + (leap and month == 2):
        return -(<int64_t>1 << 62)
    # The year begins in March, so that the leap day is its last.
    cdef int64_t y = year - (month <= 2)
    cdef int64_t of_year = (153 * (month + (9 if month <= 2 else -3)) + 2) // 5 + day - 1
    return y * 365 + y // 4 - y // 100 + y // 400 + of_year - 719468


cdef int _parse(const unsigned char *text, Py_ssize_t size, Value *value) noexcept nogil:
    cdef int year, hour, minute, second, digits
    cdef int64_t days, nanos, offset
    cdef uint64_t number
    cdef Py_ssize_t at
    cdef unsigned int digit
    value.nanos = 0
    if size == 0:
        return OPAQUE
    if size < 10 or text[4] != c"-" or text[7] != c"-" or text[0] == c"-":
        at = 1 if text[0] == c"-" else 0
        if at == size:
            return OPAQUE
        if size - at > 19:
            return UNSURE
        number = 0
        while at < size:
            digit = <unsigned int>text[at] - 48
            if digit > 9:
                return UNSURE
            number = number * 10 + digit
            at += 1
        if number > <uint64_t>0x7FFFFFFFFFFFFFFF:
            return UNSURE
        value.whole = -<int64_t>number if text[0] == c"-" else <int64_t>number
        return INTEGER
    year = _two(text)
    minute = _two(text + 2)
    if year < 0 or minute < 0:
        return OPAQUE
    days = _days(year * 100 + minute, _two(text + 5), _two(text + 8))
    if days == -(<int64_t>1 << 62):
        return OPAQUE
    if size == 10:
        value.whole = days
        return DATE
    if size < 16 or (text[10] != c"T" and text[10] != c" " and text[10] != c"t") or text[13] != c":":
        return OPAQUE
    hour, minute, second, at = _two(text + 11), _two(text + 14), 0, 16
    if hour < 0 or hour > 23 or minute < 0 or minute > 59:
        return OPAQUE
    if at < size and text[at] == c":":
        if size < 19:
            return OPAQUE
        second, at = _two(text + 17), 19
        if second < 0 or second > 60:
            return OPAQUE
        if at < size and (text[at] == c"." or text[at] == c","):
            at += 1
            digits, nanos = 0, 0
            while at < size and <unsigned int>text[at] - 48 < 10:
                if digits < 9:
                    nanos = nanos * 10 + (text[at] - 48)
                digits += 1
                at += 1
            if digits == 0:
                return OPAQUE
            while digits < 9:
                nanos *= 10
                digits += 1
            value.nanos = nanos
    offset = _offset(text + at, size - at)
    if offset > 86400:
        return OPAQUE
    value.whole = days * 86400 + hour * 3600 + minute * 60 + second - offset
    return INSTANT


cdef int64_t _offset(const unsigned char *text, Py_ssize_t size) noexcept nogil:
    """Seconds east of UTC; more than a day if this is no time zone."""
    cdef int hours, minutes = 0
    if size == 0 or (size == 1 and (text[0] == c"Z" or text[0] == c"z")):
        return 0
    if text[0] == c" ":
        text += 1
        size -= 1
        if size == 0 or text[0] == c" ":
            return 1 << 30
        return _offset(text, size)
    if size == 3 and (memcmp(text, b"UTC", 3) == 0 or memcmp(text, b"GMT", 3) == 0):
        return 0
    if (text[0] != c"+" and text[0] != c"-") or size < 3:
        return 1 << 30
    hours = _two(text + 1)
    if size == 5:
        minutes = _two(text + 3)
    elif size == 6 and text[3] == c":":
        minutes = _two(text + 4)
    elif size != 3:
        return 1 << 30
    if hours < 0 or hours > 23 or minutes < 0 or minutes > 59:
        return 1 << 30
    return (hours * 3600 + minutes * 60) * (-1 if text[0] == c"-" else 1)


cdef inline int _parse_text(str text, Value *value) noexcept:
    if not PyUnicode_IS_COMPACT_ASCII(text):
        return OPAQUE
    return _parse(<const unsigned char *>PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text), value)


cdef inline object _as_rank(int kind, Value value):
    return <object>value.whole * 1_000_000_000 + value.nanos if kind == INSTANT else value.whole


def _unsure(text):
    """The rank of a long integer or an e-mail date; None for anything else."""
    digits = text[1:] if text[0] == "-" else text
    if digits.isdigit():  # `text` is ASCII
        return (INTEGER, int(text)) if len(digits) <= _SAFE_DIGITS else None
    parsed = parsedate_tz(text) if _RFC_2822.fullmatch(text) else None
    if parsed is None:
        return None
    year, month, day, hour, minute, second, _, _, _, offset = parsed
    days = _days(year, month, day)
    if days == -(1 << 62) or hour > 23 or minute > 59 or second > 60:
        return None
    return (INSTANT, (days * 86400 + hour * 3600 + minute * 60 + second - offset) * 1_000_000_000)


def rank(pointer: str) -> tuple | None:
    cdef Value value
    cdef int kind = _parse_text(pointer, &value)
    if kind == OPAQUE:
        return None
    if kind == UNSURE:
        return _unsure(pointer)
    return (kind, _as_rank(kind, value))


class Order(NamedTuple):
    kind: int
    low: str
    high: str
    low_rank: int
    high_rank: int
    ascending: bool
    descending: bool


def order(pointers: list) -> Order | None:
    cdef Value value = Value(0, 0), low = value, high = value, last = value
    cdef int kind = OPAQUE, this
    cdef Py_ssize_t low_at = 0, high_at = 0, index, count = len(pointers)
    cdef bint ascending = True, descending = True
    for index in range(count):
        text = pointers[index]
        if type(text) is not str:
            if text is None:
                return order([pointer for pointer in pointers if pointer is not None])
            return None
        this = _parse_text(<str>text, &value)
        if this == UNSURE:
            return _order_slowly(pointers)
        if this == OPAQUE:
            return None
        if index == 0:
            kind, low, high, last = this, value, value, value
            continue
        if this != kind:
            # A number too long for this loop may still follow, but it would not make the kinds agree.
            return None
        if _less(&value, &last):
            ascending = False
            if _less(&value, &low):
                low, low_at = value, index
        elif _less(&last, &value):
            descending = False
            if _less(&high, &value):
                high, high_at = value, index
        last = value
    if count == 0:
        return None
    return Order(
        kind, pointers[low_at], pointers[high_at], _as_rank(kind, low), _as_rank(kind, high), ascending, descending
    )


cdef inline bint _less(const Value *left, const Value *right) noexcept nogil:
    return left.whole < right.whole or (left.whole == right.whole and left.nanos < right.nanos)


def _order_slowly(pointers):
    ranks = [rank(text) if type(text) is str else None for text in pointers]
    if None in ranks or len({kind for kind, _ in ranks}) > 1:
        return None
    values = [value for _, value in ranks]
    low, high = min(values), max(values)
    return Order(
        ranks[0][0], pointers[values.index(low)], pointers[values.index(high)], low, high,
        values == sorted(values), values == sorted(values, reverse=True),
    )


# ------------------------------------------------------------------------------------------------------------
# a page that is still text
# ------------------------------------------------------------------------------------------------------------

cdef enum:
    # How many steps a path may have to be followed in the text.
    STEPS = 16
    # Beside the scanner's marks: the entry was given out, and may have been changed since.
    GIVEN = 64

_PROBLEMS = {
    _scan.CUT: "it is cut off at byte {at}",
    _scan.UNEXPECTED: "{byte} at byte {at} is not what JSON has there",
    _scan.TRAILING: "something follows its end at byte {at}",
    _scan.DEEP: "it is nested too deeply at byte {at}",
}


cdef object _integer(str digits):
    """An integer as the standard json module reads it; its text where the interpreter refuses so many digits."""
    try:
        return int(digits)
    except ValueError:
        return digits


cdef object _read(bytes text, unsigned int marks):
    """The value of a piece of JSON that was scanned: what the standard json module makes of it."""
    if not marks & (_scan.ODD | _scan.LONG):
        try:
            return _loads(text)
        except ValueError:
            # It knows no number that is too large for a float.
            pass
    try:
        return json.loads(text.decode("utf-8", "replace"), parse_int=_integer)
    except RecursionError:
        # Nobody else could read it either.
        return text.decode("utf-8", "replace")


cdef bytes _utf8(bytes body):
    """`body` in UTF-8 without a byte order mark, as the standard json module finds out what it is in."""
    if body[:3] == b"\xef\xbb\xbf":
        return body[3:]
    if b"\0" in body[:4] or body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return body.decode(json.detect_encoding(body), "replace").encode("utf-8", "replace")
    return body


@cython.final
cdef class _Steps:
    """A path as the scanner takes it."""

    cdef _scan.Name[STEPS] names
    cdef int count
    cdef list _kept

    def __cinit__(self, names):
        self._kept = [str(name).encode("utf-8", "surrogatepass") for name in names]
        self.count = <int>len(self._kept)
        for index in range(self.count):
            self.names[index].text = <const unsigned char *>PyBytes_AS_STRING(self._kept[index])
            self.names[index].size = PyBytes_GET_SIZE(self._kept[index])


def _steps(names):
    """None for a path that the scanner cannot follow."""
    return None if names is None or len(names) > STEPS else _Steps(names)


@cython.final
cdef class RawPage:
    cdef bytes _body
    cdef _scan.Found _found
    cdef tuple _pointed  # the names of the path whose pointers `_found` has
    cdef dict _made  # index -> the entry as it was given out

    def __init__(self, body: bytes, path: str = "", pointer_path: str = "") -> None:
        cdef _Steps steps = _steps(_names_of(path) if path else ())
        cdef _Steps pointer = None
        if steps is None:
            raise ValueError(f"The path {path!r} is not one of at most {STEPS} names with dots between them.")
        if pointer_path:
            self._pointed = _names_of(pointer_path)
            pointer = _steps(self._pointed) if self._pointed else None
        if pointer is None:
            self._pointed, pointer = (), _Steps(())
        self._body = _utf8(bytes(body))
        self._find(steps, pointer)

    cdef int _find(self, _Steps steps, _Steps pointer) except -1:
        cdef const unsigned char *text = <const unsigned char *>PyBytes_AS_STRING(self._body)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(self._body), index, kept = 0
        cdef _scan.Found *found = &self._found
        self._made = {}
        with nogil:
            _scan.scan(text, size, steps.names, steps.count, pointer.names, pointer.count, found)
        if found.problem == _scan.NO_MEMORY:
            raise MemoryError()
        if found.problem != _scan.FINE:
            byte = repr(self._body[found.at:found.at + 1])[1:]
            raise DataFormatException(
                f"The text of a page is not JSON: {_PROBLEMS[found.problem].format(at=found.at, byte=byte)}."
            )
        # As in lists of entries, a null is nothing.
        for index in range(found.count):
            if found.entries[index].marks & _scan.OTHER and text[found.entries[index].start] == c"n":
                continue
            if kept != index:
                found.entries[kept] = found.entries[index]
            kept += 1
        found.count = kept
        return 0

    def __dealloc__(self):
        PyMem_RawFree(self._found.entries)

    def __repr__(self):
        return f"<RawPage of {self._found.count} entries in {PyBytes_GET_SIZE(self._body)} bytes>"

    def __len__(self) -> int:
        return self._found.count

    @property
    def kind(self) -> str:
        if self._found.is_list:
            return "list"
        if self._found.end == 0 or self._text(self._found.start, self._found.end) == b"null":
            return "nothing"
        return type(_read(self._text(self._found.start, self._found.end), self._found.marks)).__name__

    def __eq__(self, other):
        cdef RawPage there
        cdef Py_ssize_t index, size
        cdef const char *mine = PyBytes_AS_STRING(self._body)
        cdef const char *theirs
        if type(other) is not RawPage:
            return NotImplemented
        there = <RawPage>other
        theirs = PyBytes_AS_STRING(there._body)
        if self._found.count != there._found.count:
            return False
        for index in range(self._found.count):
            size = self._found.entries[index].end - self._found.entries[index].start
            if size != there._found.entries[index].end - there._found.entries[index].start or memcmp(
                mine + self._found.entries[index].start, theirs + there._found.entries[index].start, size
            ):
                return False
        return True

    cdef unsigned int _all_marks(self) noexcept:
        cdef unsigned int marks = 0
        cdef Py_ssize_t index
        for index in range(self._found.count):
            marks |= self._found.entries[index].marks
        return marks

    @property
    def odd(self) -> bool:
        return bool((self._all_marks() | self._found.marks) & _scan.ODD)

    @property
    def stranger(self) -> str | None:
        cdef Py_ssize_t index
        if self._all_marks() & _scan.OTHER:
            for index in range(self._found.count):
                if self._found.entries[index].marks & _scan.OTHER:
                    return type(self._entry(index)).__name__
        return None

    @property
    def body(self) -> bytes:
        return self._body

    def envelope(self) -> object:
        cdef Py_ssize_t start = self._found.start, end = self._found.end
        if not self._found.is_list:
            return _read(self._body, self._found.marks)
        return _read(self._body[:start] + b"[]" + self._body[end:], self._found.marks)

    cdef bytes _text(self, Py_ssize_t start, Py_ssize_t end):
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self._body) + start, end - start)

    cdef object _entry(self, Py_ssize_t index):
        """An entry: the one that was given out, or a new one that is not kept."""
        if self._found.entries[index].marks & GIVEN:
            return self._made[index]
        return self._original(index)

    cdef object _original(self, Py_ssize_t index):
        """An entry as its text has it."""
        cdef _scan.Entry *entry = self._found.entries + index
        return _read(self._text(entry.start, entry.end), entry.marks)

    cdef bytes _line(self, Py_ssize_t index):
        """The text of an entry on one line; None where it is not to be delivered as it is."""
        cdef _scan.Entry *entry = self._found.entries + index
        cdef bytes text
        if entry.marks & (_scan.ODD | _scan.OWN | _scan.OTHER):
            return None
        text = self._text(entry.start, entry.end)
        if entry.marks & GIVEN and _json(self._made[index]) != _json(_read(text, entry.marks)):
            return None
        return text.translate(None, b"\r\n") if entry.marks & _scan.BROKEN else text

    def __getitem__(self, where):
        cdef Py_ssize_t index, count = self._found.count
        if isinstance(where, slice):
            return [self[place] for place in range(*where.indices(count))]
        index = where
        if index < 0:
            index += count
        if not 0 <= index < count:
            raise IndexError(f"There is no entry {where} in a page of {count}.")
        if not self._found.entries[index].marks & GIVEN:
            self._made[index] = self._entry(index)
            self._found.entries[index].marks |= GIVEN
        return self._made[index]

    def __iter__(self):
        cdef Py_ssize_t index
        for index in range(self._found.count):
            yield self[index]

    def copies(self):
        cdef Py_ssize_t index
        for index in range(self._found.count):
            yield copy_entry(self._made[index]) if self._found.entries[index].marks & GIVEN else self._entry(index)

    def take(self, indexes) -> RawPage:
        cdef RawPage part = RawPage.__new__(RawPage)
        cdef Py_ssize_t index, count = len(indexes), place = 0
        part._body, part._pointed, part._made = self._body, self._pointed, {}
        part._found = self._found
        part._found.entries = <_scan.Entry *>PyMem_RawMalloc(max(count, 1) * sizeof(_scan.Entry))
        if part._found.entries == NULL:
            raise MemoryError()
        for given in indexes:
            index = given
            if not 0 <= index < self._found.count:
                raise IndexError(f"There is no entry {index} in a page of {self._found.count}.")
            part._found.entries[place] = self._found.entries[index]
            if self._found.entries[index].marks & GIVEN:
                part._made[place] = self._made[index]
            place += 1
        part._found.count = part._found.room = count
        return part

    @staticmethod
    def joined(pages: list) -> RawPage:
        cdef RawPage made = RawPage.__new__(RawPage), page
        cdef Py_ssize_t index, count = 0, place = 0, start = 1
        cdef list texts = []
        for page in pages:
            count += page._found.count
        made._found.entries = <_scan.Entry *>PyMem_RawMalloc(max(count, 1) * sizeof(_scan.Entry))
        if made._found.entries == NULL:
            raise MemoryError()
        made._made, made._pointed = {}, None
        for page in pages:
            for index in range(page._found.count):
                entry = made._found.entries + place
                entry[0] = page._found.entries[index]
                texts.append(page._text(entry.start, entry.end))
                if entry.marks & GIVEN:
                    made._made[place] = page._made[index]
                # Where its pointer is will be looked for again.
                entry.end = start + entry.end - entry.start
                entry.start = start
                entry.pointer_start = entry.pointer_end = 0
                start = entry.end + 1
                place += 1
        made._body = b"[" + b",".join(texts) + b"]"
        made._found.count = made._found.room = count
        made._found.is_list = True
        made._found.end = PyBytes_GET_SIZE(made._body)
        return made

    cdef list _pointers(self, PointerPath path):
        """What `PointerPath.pointers` finds in the entries."""
        cdef _Steps steps
        cdef Py_ssize_t index
        cdef list found = []
        cdef const unsigned char *text = <const unsigned char *>PyBytes_AS_STRING(self._body)
        if path._names != self._pointed and path._names:
            steps = _steps(path._names)
            if steps is not None:
                for index in range(self._found.count):
                    _scan.point(
                        text, PyBytes_GET_SIZE(self._body), self._found.entries + index, steps.names, steps.count
                    )
                self._pointed = path._names
        is_found = path._names and path._names == self._pointed
        for index in range(self._found.count):
            if is_found and not self._found.entries[index].marks & GIVEN:
                found.append(self._pointer(self._found.entries + index))
            else:
                found.extend(path.pointers([self._entry(index)]))
        return found

    cdef object _pointer(self, _scan.Entry *entry):
        cdef bytes body = self._body
        cdef const char *text = PyBytes_AS_STRING(body) + entry.pointer_start
        cdef Py_ssize_t size = entry.pointer_end - entry.pointer_start, index = 1
        if size == 0:
            return None
        if text[0] == c'"':
            if size == 2:
                return None
            if not entry.marks & _scan.ODD and memchr(text, c"\\", size) == NULL:
                return PyUnicode_DecodeUTF8(text + 1, size - 2, NULL)
        elif c"1" <= text[0] <= c"9":
            while index < size and c"0" <= text[index] <= c"9":
                index += 1
            if index == size:
                return PyUnicode_DecodeASCII(text, size, NULL)
        try:
            return _pointer_of(_read(self._text(entry.pointer_start, entry.pointer_end), entry.marks))
        except RecursionError:  # nested too deeply for str()
            return None


# ------------------------------------------------------------------------------------------------------------
# encode
# ------------------------------------------------------------------------------------------------------------

cdef str _GROVE = "_grove"
# What is reserved for a page of entries as long as its first one, at the most.
cdef Py_ssize_t _MUCH = 1 << 26

# Memory of pages that are done with, for the next ones: the system takes longer to hand out a fresh megabyte than
# an entry takes to be written there. Small blocks are left to malloc, which keeps them itself.
cdef enum:
    SPARES = 4
cdef char *_spares[SPARES]
cdef Py_ssize_t[SPARES] _rooms
cdef Py_ssize_t _SMALL = 1 << 16, _LARGE = 1 << 23


cdef char *_take(Py_ssize_t wanted, Py_ssize_t *room) except NULL:
    """A block of at least `wanted` bytes, and in `room` how many it has."""
    cdef char *block
    for place in range(SPARES):
        if _rooms[place] >= wanted and wanted > _SMALL:
            block, room[0] = _spares[place], _rooms[place]
            _spares[place], _rooms[place] = NULL, 0
            return block
    block = <char *>PyMem_RawMalloc(max(wanted, 1))
    if block == NULL:
        raise MemoryError()
    room[0] = wanted
    return block


cdef void _give(char *block, Py_ssize_t room) noexcept:
    """Keep a block in the place of a smaller one, or free it."""
    cdef int place, smallest = 0
    if _SMALL < room <= _LARGE:
        for place in range(1, SPARES):
            if _rooms[place] < _rooms[smallest]:
                smallest = place
        if _rooms[smallest] < room:
            PyMem_RawFree(_spares[smallest])
            _spares[smallest], _rooms[smallest] = block, room
            return
    PyMem_RawFree(block)


# How much text is compressed at a time: little enough to be in the processor's cache still.
cdef Py_ssize_t _PIECE = 1 << 18


@cython.final
cdef class EncodedPage:
    cdef char *_text  # the lines; NULL while only the compressed form is kept
    cdef Py_ssize_t _size
    cdef Py_ssize_t _room
    cdef Py_ssize_t _done  # how many bytes of these lines are compressed already
    cdef Py_ssize_t _gone  # how many bytes came before these lines, and are kept in compressed form only
    cdef RawPage _raw  # the page whose text tells as much as the lines do
    cdef object _codec
    cdef readonly bytes packed
    cdef readonly Py_ssize_t count
    cdef Py_ssize_t *_ends  # where each line ends, after its newline
    cdef Py_ssize_t _tail  # how many bytes at the end of a line are not its entry's
    cdef dict _hashes  # index -> hash, where the line does not tell

    def __cinit__(self):
        self._hashes = {}

    def __dealloc__(self):
        _give(self._text, self._room)
        PyMem_RawFree(self._ends)

    def __len__(self) -> int:
        return self.count

    @property
    def data(self) -> bytes:
        return PyBytes_FromStringAndSize(self._lines(), self._size)

    cdef int _pack(self, object compressor, list parts) except -1:
        """Compress the lines that were added; those of a page of text need not be kept beside it."""
        cdef Py_ssize_t size = self._size - self._done
        if size:
            parts.append(compressor.compress(PyMemoryView_FromMemory(self._text + self._done, size, PyBUF_READ)))
            self._done = self._size
        if self._raw is not None:
            self._gone += self._size
            self._size = self._done = 0
        return 0

    cdef int _seal(self, object compressor, list parts) except -1:
        self._pack(compressor, parts)
        parts.append(compressor.flush())
        self.packed = b"".join(parts)
        if self._raw is not None:
            self._size, self._gone = self._gone, 0
            self._drop()
        return 0

    cdef void _drop(self) noexcept:
        _give(self._text, self._room)
        self._text, self._room = NULL, 0

    def shrink(self) -> None:
        # The memory of the lines is wanted for the next page; they are hardly ever read again.
        if self.packed is not None:
            self._drop()
            self._raw = None

    cdef char *_lines(self) except NULL:
        cdef bytes data
        if self._text == NULL:
            data = b"" if self.packed is None else self._codec.decompress(self.packed)
            self._size = 0
            self.reserve(PyBytes_GET_SIZE(data))
            self.add(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        return self._text

    cdef int reserve(self, Py_ssize_t wanted) except -1:
        """Make room for that many bytes in all."""
        cdef Py_ssize_t room = 0
        cdef char *block
        if wanted > self._room or self._text == NULL:
            block = _take(wanted, &room)
            if self._size:
                memcpy(block, self._text, self._size)
            _give(self._text, self._room)
            self._text, self._room = block, room
        return 0

    cdef inline int add(self, const char *text, Py_ssize_t size) except -1:
        if self._room - self._size < size:
            self.reserve(max(self._size + size, self._room + self._room // 2))
        memcpy(self._text + self._size, text, size)
        self._size += size
        return 0

    cdef bytes _body(self, Py_ssize_t index):
        """The JSON of the entry itself, cut from its line."""
        cdef char *lines = self._lines()
        cdef Py_ssize_t start = self._ends[index - 1] if index else 0
        cdef Py_ssize_t size = self._ends[index] - start - self._tail
        cdef bytes body = PyBytes_FromStringAndSize(lines + start, size + 1)
        PyBytes_AS_STRING(body)[size] = c"}"
        return body

    cdef bint _is_line(self, Py_ssize_t index, bytes body) except -1:
        """Whether this is the JSON of an entry, byte by byte. False does not say that the entry differs."""
        cdef char *lines = self._lines()
        cdef Py_ssize_t start = self._ends[index - 1] if index else 0
        cdef Py_ssize_t size = PyBytes_GET_SIZE(body) - 1
        return (
            self._ends[index] - start - self._tail == size
            and memcmp(lines + start, PyBytes_AS_STRING(body), size) == 0
            and index not in self._hashes
        )

    cdef str _hash(self, Py_ssize_t index):
        cdef object known = self._hashes.get(index)
        if known is not None:
            return known
        if self._raw is not None:
            return hash_entry(self._raw._original(index))
        return hash_entry(_read(self._body(index), 0))

    def hash(self, index: int) -> str:
        cdef Py_ssize_t place = index
        if place < 0 or place >= self.count:
            raise IndexError(f"There is no line {index} in a page of {self.count}.")
        return self._hash(place)


def _merged(entry, metadata):
    """A copy of an entry that brings a `_grove` of its own, with ours merged in."""
    own = entry.pop(_GROVE)
    if not isinstance(own, dict):
        own = {"original": own}
    entry[_GROVE] = {key: value for key, value in own.items() if key not in metadata} | metadata
    return entry


cdef bytes _json(object value):
    cdef bytes data = _fast(value, _AS_IS)
    return _exact(value, False) if data is None else data


cdef int _add_line(EncodedPage page, bytes line, bytes tail) except -1:
    """One line: the JSON of an object with at least one member, and the tail in the place of its brace."""
    page.add(PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line) - 1)
    page.add(PyBytes_AS_STRING(tail), page._tail)
    return 0


cdef int _add_entry(EncodedPage page, Py_ssize_t index, object entry, dict metadata, bytes tail) except -1:
    cdef bytes line
    if type(entry) is not dict:
        if not isinstance(entry, dict):
            raise DataFormatException(
                f"Entry {index} of a page is a {type(entry).__name__}; only JSON objects can be saved."
            )
        plain = _members(entry)
    else:
        plain = entry
    if metadata is not None and _GROVE in <dict>plain:
        page._hashes[index] = hash_entry(entry)
        line = _json(_merged(dict(plain), metadata))
        page.add(PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line))
        page.add(b"\n", 1)
        return 0
    line = _fast(plain, _AS_IS)
    if line is None:
        page._hashes[index] = hash_entry(entry)
        line = _exact(plain, False)
    if PyBytes_GET_SIZE(line) > 2 or metadata is None:
        _add_line(page, line, tail)
    else:  # an empty object: no comma
        page._hashes[index] = hash_entry(entry)
        page.add(b"{", 1)
        page.add(PyBytes_AS_STRING(tail) + 1, page._tail - 1)
    return 0


cdef int _add_text(EncodedPage page, RawPage raw, Py_ssize_t index, dict metadata, bytes tail) except -1:
    """An entry whose text cannot just be copied."""
    cdef unsigned int marks = raw._found.entries[index].marks
    cdef bytes line = None if marks & _scan.EMPTY else raw._line(index)
    if marks & (_scan.LONG | GIVEN):
        page._hashes[index] = hash_entry(raw._entry(index))
    if line is None:
        return _add_entry(page, index, raw._entry(index), metadata, tail)
    return _add_line(page, line, tail)


cdef Py_ssize_t _splice(
    EncodedPage page, const _scan.Entry *entries, Py_ssize_t first, Py_ssize_t count, const char *text, const char *tail
) noexcept nogil:
    """Copy entries from `first` on, as long as there is room and nothing else to be done; the first that was not."""
    cdef Py_ssize_t index = first, size
    cdef char *place = page._text + page._size
    cdef char *end = page._text + page._room
    while index < count:
        size = entries[index].end - entries[index].start - 1
        if entries[index].marks or end - place < size + page._tail:
            break
        memcpy(place, text + entries[index].start, size)
        memcpy(place + size, tail, page._tail)
        place += size + page._tail
        page._ends[index] = page._gone + (place - page._text)
        index += 1
    page._size = place - page._text
    return index


def encode(entries: list | RawPage, metadata: dict | None, codec=None) -> EncodedPage:
    cdef EncodedPage page = EncodedPage.__new__(EncodedPage)
    cdef RawPage raw = _raw_page(entries)
    cdef Py_ssize_t index = 0, count = len(entries), wanted
    cdef list parts = []
    cdef object compressor = None if codec is None else codec.compressor()
    cdef bytes tail = b"}\n" if metadata is None else b',"_grove":' + _json(metadata) + b"}\n"
    page._codec = codec
    page._raw = raw if codec is not None else None
    page._tail = PyBytes_GET_SIZE(tail)
    page._ends = <Py_ssize_t *>PyMem_RawMalloc(max(count, 1) * sizeof(Py_ssize_t))
    if page._ends == NULL:
        raise MemoryError()
    if raw is not None and count:
        wanted = raw._found.entries[count - 1].end - raw._found.entries[0].start + page._tail * count
        page.reserve(wanted if compressor is None else min(wanted, _PIECE))
    while index < count:
        if raw is not None:
            page.count = index = _splice(
                page, raw._found.entries, index, count, PyBytes_AS_STRING(raw._body), PyBytes_AS_STRING(tail)
            )
            if index == count:
                break
            wanted = raw._found.entries[index].end - raw._found.entries[index].start + page._tail
            if raw._found.entries[index].marks:
                _add_text(page, raw, index, metadata, tail)
            elif compressor is not None and page._size:
                page._pack(compressor, parts)
                continue
            else:
                page.reserve(page._size + wanted)
                continue
        else:
            _add_entry(page, index, entries[index], metadata, tail)
            if index == 0:
                wanted = page._size * count + (page._size * count >> 2)
                page.reserve(min(wanted, _MUCH))
        page._ends[index] = page._gone + page._size
        index += 1
        page.count = index
        if compressor is not None and page._size - page._done >= _PIECE:
            page._pack(compressor, parts)
    if compressor is not None:
        page._seal(compressor, parts)
    return page


# ------------------------------------------------------------------------------------------------------------
# seen
# ------------------------------------------------------------------------------------------------------------

# How many lines with the pointer of an entry are compared with it before it is hashed.
cdef int _LINES_TO_COMPARE = 2
# What a remembered pointer costs beside the bytes of its page.
cdef int _POINTER_BYTES = 160
cdef int _HASH_BYTES = 250
cdef tuple _INDEXES = tuple(range(4096))
# With how many known pointers each one of a page is compared, rather than looked up.
cdef int _FEW = 3
# How many pointers of a page are looked for one by one before all their places are noted.
cdef int _LOOKS = 8


@cython.final
cdef class _Delivered:
    """Entries that were delivered together: their pointers, and the page or the hashes."""

    cdef list pointers
    cdef EncodedPage page
    cdef list hashes
    cdef object kind  # of the pointers; None where they cannot be compared
    cdef object low, high  # their ends, as `rank` has them
    cdef list noted  # the pointers under which the index has this; None for all
    cdef int _looks
    cdef dict _places  # pointer -> indexes, made when a few pointers were met again
    cdef dict _sets  # pointer -> hashes
    cdef Py_ssize_t _next  # the index after the line that was met last

    cdef list places(self, object pointer):
        if self._places is None:
            self._looks += 1
            if self._looks <= _LOOKS:
                return [index for index, known in enumerate(self.pointers) if known == pointer]
            self._places = {}
            for index, known in enumerate(self.pointers):
                self._places.setdefault(known, []).append(index)
        return self._places.get(pointer, [])

    cdef set of(self, object pointer):
        """The hashes of the entries with this pointer."""
        cdef set found
        cdef list places
        if self._sets is None:
            self._sets = {}
        found = self._sets.get(pointer)
        if found is None:
            places = self.places(pointer)
            if self.page is None:
                found = {self.hashes[index] for index in places}
            else:
                found = {self.page._hash(index) for index in places}
            self._sets[pointer] = found
        return found

    cdef bint has_line(self, object pointer, bytes body) except -1:
        """Whether an entry was delivered in the very same bytes. Looks where a page that comes again would have it."""
        cdef list places
        cdef Py_ssize_t first, place, index
        if self.page is None:
            return False
        places = self.places(pointer)
        first = bisect_left(places, self._next) if len(places) > 1 else 0
        for place in range(first, first + _LINES_TO_COMPARE):
            index = places[place % len(places)]
            if self.page._is_line(index, body):
                self._next = index + 1
                return True
        return False


@cython.final
cdef class _Known:
    """Everything known of one pointer."""

    cdef set hashes
    cdef set legacy
    cdef list pages

    def __cinit__(self):
        self.hashes, self.legacy, self.pages = set(), set(), []


def _legacy_hash(entry):
    """The hash that Grove 2.x stored; None for what it could not hash."""
    try:
        text = json.dumps(entry, separators=(",", ":"), default=str)
    except (TypeError, ValueError, RecursionError):
        return None
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@cython.final
cdef class Seen:
    cdef dict _index  # pointer -> _Delivered or _Known
    cdef set _anywhere
    cdef list _young
    cdef list _old
    cdef list _apart  # what was delivered and is not in the index, because nothing came near its pointers since
    cdef Py_ssize_t _young_bytes
    cdef Py_ssize_t _half

    def __cinit__(self):
        self._index, self._anywhere, self._young, self._old, self._apart = {}, set(), [], [], []

    def __init__(self, max_bytes: int = 32 * 1024 * 1024) -> None:
        self._half = max_bytes // 2

    cdef _Known _known(self, object pointer):
        found = self._index.get(pointer)
        if type(found) is _Known:
            return <_Known>found
        known = <_Known>_Known.__new__(_Known)
        if found is not None:
            known.pages.append(found)
        self._index[pointer] = known
        return known

    def add(self, pointer: str, hashes, legacy: bool = False) -> None:
        cdef _Known known
        cdef set fresh = set(hashes)
        if fresh:
            known = self._known(pointer)
            (known.legacy if legacy else known.hashes).update(fresh)

    def add_anywhere(self, hashes) -> None:
        self._anywhere.update(hashes)

    def remember(self, pointers: list, page: EncodedPage) -> None:
        if len(pointers) != page.count:
            raise ValueError(f"There are {len(pointers)} pointers for a page of {page.count}.")
        self._deliver(pointers, page, None, page._size + _POINTER_BYTES * page.count)

    def remember_hashes(self, pointers: list, hashes: list) -> None:
        if len(pointers) != len(hashes):
            raise ValueError(f"There are {len(pointers)} pointers for {len(hashes)} hashes.")
        self._deliver(pointers, None, list(hashes), (_POINTER_BYTES + _HASH_BYTES) * len(pointers))

    cdef int _deliver(self, list pointers, EncodedPage page, list hashes, Py_ssize_t size) except -1:
        cdef _Delivered delivered = _Delivered.__new__(_Delivered)
        cdef bint every = True
        if not pointers:
            return 0
        for pointer in pointers:
            if type(pointer) is not str:
                if pointer is not None and not isinstance(pointer, str):
                    raise TypeError(f"A pointer is a {type(pointer).__name__}; it has to be a str or None.")
                every = False
        if self._young_bytes and self._young_bytes + size > self._half:
            self._drop_old()
        delivered.pointers, delivered.page, delivered.hashes = list(pointers), page, hashes
        self._young.append(delivered)
        self._young_bytes += size
        lies = order(delivered.pointers) if every else None
        if lies is None:
            self._enter(delivered, delivered.pointers)
        else:
            # Pages mostly go one way: what nothing comes near again need not be looked up.
            delivered.kind, delivered.low, delivered.high = lies.kind, lies.low_rank, lies.high_rank
            delivered.noted = []
            self._apart.append(delivered)
        return 0

    cdef int _enter(self, _Delivered delivered, object pointers) except -1:
        """Put these pointers of a delivery into the index."""
        cdef PyObject *found
        cdef _Known known
        for pointer in pointers:
            found = PyDict_SetDefault(self._index, pointer, delivered)
            if found != <PyObject *>delivered:
                known = self._known(pointer)
                if not known.pages or known.pages[-1] is not delivered:
                    if delivered not in known.pages:
                        known.pages.append(delivered)
        return 0

    cdef int _approach(self, list pointers) except -1:
        """A page with these pointers is asked about: enter what lies near it."""
        cdef _Delivered delivered
        cdef object near = None, kind = None, low = None, high = None
        cdef list apart
        if None not in pointers:
            near = order(pointers)
        if near is None:
            given = [pointer for pointer in pointers if pointer is not None]
            near = order(given) if len(given) < len(pointers) else None
            if near is None and not given:
                return 0
        apart = []
        if near is not None:
            kind, low, high = near.kind, near.low_rank, near.high_rank
        for item in self._apart:
            delivered = <_Delivered>item
            if near is not None and (
                kind != delivered.kind or low > delivered.high or high < delivered.low
            ):
                apart.append(delivered)
            elif (
                near is not None
                and (low == delivered.high or high == delivered.low)
                and delivered.low != delivered.high
                and low != high
            ):
                # They only touch: entries that share a pointer across a page's edge.
                shared = [
                    pointer for pointer in set(delivered.pointers).intersection(pointers)
                    if pointer not in delivered.noted
                ]
                self._enter(delivered, shared)
                delivered.noted.extend(shared)
                apart.append(delivered)
            else:
                delivered.noted = None
                self._enter(delivered, delivered.pointers)
        self._apart = apart
        return 0

    cdef int _drop_old(self) except -1:
        cdef _Delivered delivered
        cdef _Known known
        for item in self._old:
            delivered = <_Delivered>item
            if delivered.noted is not None:
                self._apart.remove(delivered)
            for pointer in delivered.pointers if delivered.noted is None else delivered.noted:
                found = self._index.get(pointer)
                if found is delivered:
                    del self._index[pointer]
                elif type(found) is _Known:
                    known = <_Known>found
                    if delivered in known.pages:
                        known.pages.remove(delivered)
                        if not known.pages and not known.hashes and not known.legacy:
                            del self._index[pointer]
        self._old, self._young, self._young_bytes = self._young, [], 0
        return 0

    def hashes(self, pointer: str) -> set:
        cdef set result = set()
        cdef _Delivered delivered
        found = self._index.get(pointer)
        if type(found) is _Delivered:
            result |= (<_Delivered>found).of(pointer)
        elif found is not None:
            result |= (<_Known>found).hashes
            for item in (<_Known>found).pages:
                result |= (<_Delivered>item).of(pointer)
        place = rank(pointer) if self._apart and pointer is not None else None
        if place is not None:
            for item in self._apart:
                delivered = <_Delivered>item
                if delivered.kind == place[0] and delivered.low <= place[1] <= delivered.high:
                    result |= delivered.of(pointer)
        return result

    def unseen(self, entries: list | RawPage, pointers: list, hasher=None) -> list:
        cdef Py_ssize_t index, count = len(entries)
        cdef RawPage raw = _raw_page(entries)
        cdef list result
        cdef PyObject *found
        _same_length(entries, pointers)
        if self._apart:
            self._approach(pointers)
        index = self._first_met(pointers)
        if index == count:
            return list(_INDEXES[:count]) if count <= 4096 else list(range(count))
        result = list(range(index))
        for index in range(index, count):
            pointer = pointers[index]
            found = PyDict_GetItemWithError(self._index, pointer)
            if found == NULL and not (pointer is None and self._anywhere):
                result.append(index)
            else:
                known = None if found == NULL else <object>found
                if not self._is_known(entries, raw, index, pointer, known, hasher):
                    result.append(index)
        return result

    cdef Py_ssize_t _first_met(self, list pointers) except -1:
        """The index of the first pointer under which something is known; their number where there is none."""
        cdef Py_ssize_t index, count = len(pointers)
        cdef tuple few
        cdef str pointer, known
        if self._anywhere or len(self._index) > _FEW:
            for index in range(count):
                pointer = pointers[index]
                if PyDict_GetItemWithError(self._index, pointer) != NULL or (pointer is None and self._anywhere):
                    return index
            return count
        # Most often the boundary alone: comparing is faster than hashing each pointer to look it up.
        few = tuple(self._index)
        for index in range(count):
            pointer = pointers[index]
            for known in few:
                if pointer == known:
                    return index
        return count

    cdef bint _is_known(
        self, object entries, RawPage raw, Py_ssize_t index, object pointer, object found, object hasher
    ) except -1:
        cdef _Known known
        cdef bytes line
        cdef list pages
        if type(found) is _Delivered:
            known, pages = None, [found]
        elif found is not None:
            known = <_Known>found
            pages = known.pages
        else:
            known, pages = None, []
        if hasher is None and pages:  # comparing is faster than hashing
            line = raw._line(index) if raw is not None else _fast(entries[index], _AS_IS)
            if line is not None:
                for item in pages:
                    if (<_Delivered>item).has_line(pointer, line):
                        return True
        entry = raw._entry(index) if raw is not None else entries[index]
        digest = hash_entry(entry) if hasher is None else hasher(entry)
        if digest in self._anywhere:
            return True
        for item in pages:
            if digest in (<_Delivered>item).of(pointer):
                return True
        if known is None:
            return False
        if digest in known.hashes:
            return True
        if known.legacy and _legacy_hash(entry) in known.legacy:
            # From here on it is known by the hash that is stored today.
            known.hashes.add(digest)
            return True
        return False


# ------------------------------------------------------------------------------------------------------------
# deduplication by pointer
# ------------------------------------------------------------------------------------------------------------


def dedup_by_pointer(
    entries: list, pointers: list, pointer: str, newest_first: bool, known: set | None, hasher=None
) -> list:
    cdef Py_ssize_t index, edge = -1, count = len(entries)
    cdef list result = []
    _same_length(entries, pointers)
    for index in range(count):
        if pointers[index] == pointer:
            edge = index
            if newest_first:
                break
    if edge < 0:
        return entries
    for index in range(count):
        if index < edge if newest_first else index > edge:
            result.append(entries[index])
        elif known is not None and pointers[index] == pointer:
            entry = entries[index]
            if (hash_entry(entry) if hasher is None else hasher(entry)) not in known:
                result.append(entry)
    return result
