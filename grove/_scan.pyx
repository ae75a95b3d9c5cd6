# cython: language_level=3, binding=True, cdivision=True
# cython: warn.unused=True, warn.maybe_uninitialized=True
"""Finds the entries in the text of a page, and the pointer of each, in one pass that makes no objects.

All of the text is checked on the way. It has to be JSON as RFC 8259 defines it; what the standard json module accepts
beside (NaN, the infinities, lone surrogates) and bytes that are not UTF-8 are marked in the entry that has them.

Nothing is read beyond the zero byte that follows the text: it belongs to no token, so each ends there at the latest.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

cdef extern from "Python.h":
    void *PyMem_RawRealloc(void *block, size_t size) noexcept nogil

cdef extern from *:
    """
    #define GROVE_BYTES(byte) (0x0101010101010101ULL * (byte))
    #if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    #define GROVE_CLEAR(mask) (__builtin_ctzll(mask) >> 3)
    #else
    #define GROVE_CLEAR(mask) 0
    #endif
    """
    # Eight times the same byte.
    uint64_t GROVE_BYTES(int byte) nogil
    # How many bytes come before the first one whose highest bit is set in `mask`; any smaller number will do.
    int GROVE_CLEAR(uint64_t mask) nogil

cdef enum:
    # Of brackets, within each other. orjson goes a little further.
    DEEPEST = 1000
    # Of an integer that Python's readers of JSON accept, by default.
    DIGITS = 4300
    # How many entries there is room for at first.
    AT_FIRST = 256

cdef struct State:
    const unsigned char *text
    const unsigned char *end
    const unsigned char *at  # where the problem is
    int problem
    int depth
    unsigned int marks
    bint escaped  # whether the string that was read last has an escape

cdef Name _OWN = Name(<const unsigned char *>b"_grove", 6)


cdef const unsigned char *_fail(State *s, const unsigned char *p, int problem) noexcept nogil:
    if s.problem == FINE:
        s.problem = CUT if p >= s.end and problem == UNEXPECTED else problem
        s.at = p
    return NULL


# --- tokens: each function takes where one begins, and gives where it has ended, or NULL after a problem ---


cdef inline const unsigned char *_space(State *s, const unsigned char *p) noexcept nogil:
    while p[0] <= c" ":
        if p[0] == c"\n" or p[0] == c"\r":
            s.marks |= BROKEN
        elif p[0] != c" " and p[0] != c"\t":
            break
        p += 1
    return p


cdef inline const unsigned char *_string(State *s, const unsigned char *p) noexcept nogil:
    """From behind the quote that opens it."""
    cdef uint64_t word = 0, quotes, backslashes, mask
    s.escaped = False
    p += 1
    while True:
        # Eight bytes at a time, as long as none of them is a quote, a backslash, a control character or not ASCII. A
        # byte is below another one where subtracting borrows; what a borrow spoils lies behind the first that is found.
        while s.end - p >= 8:
            memcpy(&word, p, 8)
            quotes = word ^ GROVE_BYTES(c'"')
            backslashes = word ^ GROVE_BYTES(c"\\")
            mask = word - GROVE_BYTES(c" ")
            mask |= (quotes - GROVE_BYTES(1)) & ~quotes
            mask |= (backslashes - GROVE_BYTES(1)) & ~backslashes
            mask = (mask | word) & GROVE_BYTES(0x80)
            if mask:
                p += GROVE_CLEAR(mask)
                break
            p += 8
        if p[0] == c'"':
            return p + 1
        if p[0] == c"\\":
            p = _escape(s, p)
            if p == NULL:
                return NULL
        elif p[0] >= 0x80:
            p = _wide(s, p)
        elif p[0] < c" ":
            return _fail(s, p, UNEXPECTED)
        else:
            p += 1


cdef int _unit(const unsigned char *p) noexcept nogil:
    """Four hexadecimal digits as a number; -1 where they are none."""
    cdef int value = 0, index
    for index in range(4):
        if c"0" <= p[index] <= c"9":
            value = value * 16 + p[index] - c"0"
        elif c"a" <= (p[index] | 32) <= c"f":
            value = value * 16 + (p[index] | 32) - c"a" + 10
        else:
            return -1
    return value


cdef const unsigned char *_escape(State *s, const unsigned char *p) noexcept nogil:
    """Of a pair of surrogates, both."""
    cdef int unit
    s.escaped = True
    p += 1
    if p[0] != c"u":
        if p[0] in b'"\\/bfnrt':
            return p + 1
        return _fail(s, p, UNEXPECTED)
    unit = _unit(p + 1)
    if unit < 0:
        return _fail(s, s.end if s.end - p < 5 else p, UNEXPECTED)
    p += 5
    if 0xD800 <= unit <= 0xDFFF:
        if unit <= 0xDBFF and p[0] == c"\\" and p[1] == c"u" and 0xDC00 <= _unit(p + 2) <= 0xDFFF:
            return p + 6
        s.marks |= ODD
    return p


cdef inline bint _follows(unsigned char byte) noexcept nogil:
    return byte & 0xC0 == 0x80


cdef inline const unsigned char *_wide(State *s, const unsigned char *p) noexcept nogil:
    """A character of several bytes as RFC 3629 has it, or one byte that belongs to none."""
    cdef unsigned char lead = p[0], second = p[1]
    if 0xC2 <= lead <= 0xDF:
        if _follows(second):
            return p + 2
    elif 0xE0 <= lead <= 0xEF:
        # No longer than need be, and no surrogate.
        if (0xA0 if lead == 0xE0 else 0x80) <= second <= (0x9F if lead == 0xED else 0xBF) and _follows(p[2]):
            return p + 3
    elif 0xF0 <= lead <= 0xF4:
        if (
            (0x90 if lead == 0xF0 else 0x80) <= second <= (0x8F if lead == 0xF4 else 0xBF)
            and _follows(p[2])
            and _follows(p[3])
        ):
            return p + 4
    s.marks |= ODD
    return p + 1


cdef inline bint _is_digit(unsigned char byte) noexcept nogil:
    return <unsigned char>(byte - c"0") < 10


cdef inline const unsigned char *_digits(State *s, const unsigned char *p) noexcept nogil:
    if not _is_digit(p[0]):
        return _fail(s, p, UNEXPECTED)
    while _is_digit(p[0]):
        p += 1
    return p


cdef inline const unsigned char *_number(State *s, const unsigned char *p) noexcept nogil:
    cdef const unsigned char *start
    cdef bint negative = p[0] == c"-"
    if negative:
        p += 1
        if p[0] == c"I":
            return _odd(s, p, b"Infinity", 8)
    start = p
    p = p + 1 if p[0] == c"0" else _digits(s, p)
    if p != NULL and p[0] != c"." and (p[0] | 32) != c"e":
        if p - start > 18 and not _is_short(start, p - start, negative):
            s.marks |= LONG if p - start <= DIGITS else LONG | ODD
        return p
    if p != NULL and p[0] == c".":
        p = _digits(s, p + 1)
    if p != NULL and (p[0] | 32) == c"e":
        p += 1
        if p[0] == c"+" or p[0] == c"-":
            p += 1
        p = _digits(s, p)
    return p


cdef bint _is_short(const unsigned char *digits, Py_ssize_t size, bint negative) noexcept nogil:
    """Whether an integer of 19 digits or more fits into 64 bits, with or without a sign."""
    if negative:
        return size == 19 and memcmp(digits, b"9223372036854775808", 19) <= 0
    return size == 19 or (size == 20 and memcmp(digits, b"18446744073709551615", 20) <= 0)


cdef const unsigned char *_word(State *s, const unsigned char *p, const char *name, int size) noexcept nogil:
    cdef int index
    for index in range(size):
        if p[index] != <unsigned char>name[index]:
            return _fail(s, p + index, UNEXPECTED)
    return p + size


cdef const unsigned char *_odd(State *s, const unsigned char *p, const char *name, int size) noexcept nogil:
    s.marks |= ODD
    return _word(s, p, name, size)


cdef inline const unsigned char *_scalar(State *s, const unsigned char *p) noexcept nogil:
    if p[0] == c'"':
        return _string(s, p)
    if p[0] == c"-" or _is_digit(p[0]):
        return _number(s, p)
    if p[0] == c"t":
        return _word(s, p, b"true", 4)
    if p[0] == c"f":
        return _word(s, p, b"false", 5)
    if p[0] == c"n":
        return _word(s, p, b"null", 4)
    if p[0] == c"N":
        return _odd(s, p, b"NaN", 3)
    if p[0] == c"I":
        return _odd(s, p, b"Infinity", 8)
    return _fail(s, p, UNEXPECTED)


# --- values ---


cdef inline const unsigned char *_colon(State *s, const unsigned char *p) noexcept nogil:
    """From the end of a key to the beginning of its value."""
    p = _space(s, p)
    if p[0] != c":":
        return _fail(s, p, UNEXPECTED)
    return _space(s, p + 1)


cdef inline const unsigned char *_key(State *s, const unsigned char *p) noexcept nogil:
    """From the beginning of a key to that of its value."""
    if p[0] != c'"':
        return _fail(s, p, UNEXPECTED)
    p = _string(s, p)
    if p == NULL:
        return NULL
    return _colon(s, p)


cdef const unsigned char *_value(State *s, const unsigned char *p) noexcept nogil:
    """Of any kind, and of any depth that is allowed."""
    cdef unsigned char[DEEPEST] closing
    cdef int depth = 0, limit = DEEPEST - s.depth
    while True:
        if p[0] != c"{" and p[0] != c"[":
            p = _scalar(s, p)
            if p == NULL:
                return NULL
        elif depth >= limit:
            return _fail(s, p, DEEP)
        else:
            closing[depth] = c"}" if p[0] == c"{" else c"]"
            p = _space(s, p + 1)
            if p[0] != closing[depth]:
                if closing[depth] == c"}":
                    p = _key(s, p)
                    if p == NULL:
                        return NULL
                depth += 1
                continue
            p += 1
        # A value has ended: go on to the next one, in the innermost container that has one.
        while True:
            if depth == 0:
                return p
            p = _space(s, p)
            if p[0] == c",":
                p = _space(s, p + 1)
                if closing[depth - 1] == c"}":
                    p = _key(s, p)
                    if p == NULL:
                        return NULL
                break
            if p[0] != closing[depth - 1]:
                return _fail(s, p, UNEXPECTED)
            depth -= 1
            p += 1


cdef const unsigned char *_into(State *s, const unsigned char *p) noexcept nogil:
    """From the bracket that opens a container to what is first in it.

    Never too deep: only the steps of a path lead here, and the list of entries.
    """
    s.depth += 1
    return _space(s, p + 1)


cdef inline const unsigned char *_on(State *s, const unsigned char *p, unsigned char closing) noexcept nogil:
    """From the end of a value to the next one of its container; to the bracket that closes it where there is none."""
    p = _space(s, p)
    if p[0] == c",":
        p = _space(s, p + 1)
        # What follows a comma cannot be the end.
        return _fail(s, p, UNEXPECTED) if p[0] == closing else p
    return p if p[0] == closing else _fail(s, p, UNEXPECTED)


cdef inline const unsigned char *_out(State *s, const unsigned char *p) noexcept nogil:
    s.depth -= 1
    return p + 1


# --- names ---


cdef bint _is_name(
    const unsigned char *p, const unsigned char *end, bint escaped, const Name *name
) noexcept nogil:
    """Whether this is the text of a key called `name`."""
    cdef Py_ssize_t at = 0
    cdef unsigned char[4] made
    cdef int size = 0
    if not escaped:
        return end - p == name.size and memcmp(p, name.text, name.size) == 0
    while p < end:
        if p[0] == c"\\":
            p = _unescaped(p, end, made, &size)
        else:
            made[0], size = p[0], 1
            p += 1
        if name.size - at < size or memcmp(name.text + at, made, size) != 0:
            return False
        at += size
    return at == name.size


cdef const unsigned char *_unescaped(
    const unsigned char *p, const unsigned char *end, unsigned char *made, int *size
) noexcept nogil:
    """The UTF-8 of an escape that is known to be one; past it."""
    cdef int unit, low = -1
    size[0] = 1
    if p[1] != c"u":
        made[0] = (
            c"\b" if p[1] == c"b" else c"\f" if p[1] == c"f" else c"\n" if p[1] == c"n" else c"\r" if p[1] == c"r"
            else c"\t" if p[1] == c"t" else p[1]
        )
        return p + 2
    unit = _unit(p + 2)
    p += 6
    if 0xD800 <= unit <= 0xDBFF and end - p >= 6 and p[0] == c"\\" and p[1] == c"u":
        low = _unit(p + 2)
    if 0xDC00 <= low <= 0xDFFF:
        unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
        p += 6
    if unit < 0x80:
        made[0] = <unsigned char>unit
    elif unit < 0x800:
        size[0] = 2
        made[0] = <unsigned char>(0xC0 | unit >> 6)
    elif unit < 0x10000:
        size[0] = 3
        made[0], made[1] = <unsigned char>(0xE0 | unit >> 12), <unsigned char>(0x80 | (unit >> 6 & 63))
    else:
        size[0] = 4
        made[0], made[1] = <unsigned char>(0xF0 | unit >> 18), <unsigned char>(0x80 | (unit >> 12 & 63))
        made[2] = <unsigned char>(0x80 | (unit >> 6 & 63))
    if size[0] > 1:
        made[size[0] - 1] = <unsigned char>(0x80 | (unit & 63))
    return p


# --- a page ---


cdef const unsigned char *_members(
    State *s, const unsigned char *p, const Name *names, int steps, bint top, Entry *entry
) noexcept nogil:
    """An object. The value that lies in it at `names` becomes the pointer of `entry`; of several, the last one."""
    cdef const unsigned char *name
    cdef const unsigned char *key_end
    cdef const unsigned char *start
    p = _into(s, p)
    if top and p[0] == c"}":
        s.marks |= EMPTY
    while p[0] != c"}":
        name = p + 1
        if p[0] != c'"':
            return _fail(s, p, UNEXPECTED)
        p = _string(s, p)
        if p == NULL:
            return NULL
        key_end = p - 1
        # No name is longer than the text of its key.
        if top and key_end - name >= 6 and _is_name(name, key_end, s.escaped, &_OWN):
            s.marks |= OWN
        if steps and key_end - name >= names.size and _is_name(name, key_end, s.escaped, names):
            entry.pointer_start = entry.pointer_end = 0
            start = p = _colon(s, p)
            if p == NULL:
                return NULL
            if steps > 1 and p[0] == c"{":
                p = _members(s, p, names + 1, steps - 1, False, entry)
            else:
                p = _value(s, p)
                if p != NULL and steps == 1:
                    entry.pointer_start, entry.pointer_end = start - s.text, p - s.text
        else:
            p = _colon(s, p)
            if p == NULL:
                return NULL
            p = _string(s, p) if p[0] == c'"' else _value(s, p)
        if p == NULL:
            return NULL
        p = _on(s, p, c"}")
        if p == NULL:
            return NULL
    return _out(s, p)


cdef int _make_room(Found *found) noexcept nogil:
    """For at least one more entry; -1 where there is no memory."""
    cdef Py_ssize_t room = found.room * 2 if found.room else AT_FIRST
    cdef void *block
    if found.count < found.room:
        return 0
    block = PyMem_RawRealloc(found.entries, room * sizeof(Entry))
    if block == NULL:
        return -1
    found.entries, found.room = <Entry *>block, room
    return 0


cdef const unsigned char *_items(
    State *s, const unsigned char *p, const Name *pointer, int steps, Found *found
) noexcept nogil:
    """The list of entries."""
    cdef Entry *entry
    cdef unsigned int outside = s.marks
    p = _into(s, p)
    while p[0] != c"]":
        if _make_room(found) < 0:
            return _fail(s, p, NO_MEMORY)
        entry = found.entries + found.count
        entry.start, entry.pointer_start, entry.pointer_end = p - s.text, 0, 0
        s.marks = 0
        if p[0] == c"{":
            p = _members(s, p, pointer, steps, True, entry)
        else:
            p = _value(s, p)
            s.marks |= OTHER
        if p == NULL:
            return NULL
        entry.end, entry.marks = p - s.text, s.marks
        found.count += 1
        p = _on(s, p, c"]")
        if p == NULL:
            return NULL
    s.marks = outside
    return _out(s, p)


cdef const unsigned char *_envelope(
    State *s, const unsigned char *p, const Name *path, int steps, const Name *pointer, int pointer_steps, Found *found
) noexcept nogil:
    """The value that has the list of entries at `path`; of several lists, the last one counts."""
    cdef const unsigned char *name
    cdef bint is_next
    found.count, found.start, found.end, found.is_list = 0, 0, 0, False
    if steps == 0:
        found.start, found.is_list = p - s.text, p[0] == c"["
        p = _items(s, p, pointer, pointer_steps, found) if found.is_list else _value(s, p)
        found.end = 0 if p == NULL else p - s.text
        return p
    if p[0] != c"{":
        return _value(s, p)
    p = _into(s, p)
    while p[0] != c"}":
        name = p + 1
        if p[0] != c'"':
            return _fail(s, p, UNEXPECTED)
        p = _string(s, p)
        if p == NULL:
            return NULL
        is_next = _is_name(name, p - 1, s.escaped, path)
        p = _colon(s, p)
        if p == NULL:
            return NULL
        if is_next:
            p = _envelope(s, p, path + 1, steps - 1, pointer, pointer_steps, found)
        else:
            p = _value(s, p)
        if p == NULL:
            return NULL
        p = _on(s, p, c"}")
        if p == NULL:
            return NULL
    return _out(s, p)


cdef void scan(
    const unsigned char *text, Py_ssize_t size, const Name *path, int steps, const Name *pointer, int pointer_steps,
    Found *found,
) noexcept nogil:
    cdef State s = State(text, text + size, text, FINE, 0, 0, False)
    cdef const unsigned char *p = _envelope(&s, _space(&s, text), path, steps, pointer, pointer_steps, found)
    if p != NULL:
        p = _space(&s, p)
        if p != s.end:
            _fail(&s, p, TRAILING)
    found.marks, found.problem, found.at = s.marks, s.problem, s.at - text


cdef void point(
    const unsigned char *text, Py_ssize_t size, Entry *entry, const Name *pointer, int pointer_steps
) noexcept nogil:
    """Look for the pointer of an entry that `scan` has found."""
    cdef State s = State(text, text + size, text, FINE, 0, 0, False)
    entry.pointer_start = entry.pointer_end = 0
    if not entry.marks & OTHER:
        _members(&s, text + entry.start, pointer, pointer_steps, True, entry)
