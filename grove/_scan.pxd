"""What the scanner tells the other compiled modules of the text of a page."""

cdef enum:
    # What was met in an entry, or outside the list of them.
    EMPTY = 1  # an object without members
    BROKEN = 2  # line breaks between tokens
    ODD = 4  # what only the standard json module accepts, or bytes that are not UTF-8
    LONG = 8  # an integer that does not fit into 64 bits
    OWN = 16  # a `_grove` of its own
    OTHER = 32  # no object

cdef enum:
    # Why a text is refused.
    FINE = 0
    CUT = 1
    UNEXPECTED = 2
    TRAILING = 3
    DEEP = 4
    NO_MEMORY = 5

cdef struct Name:
    # One step of a path: UTF-8.
    const unsigned char *text
    Py_ssize_t size

cdef struct Entry:
    # Offsets of the text of an entry, and in it of the value at the pointer path, both 0 where there is none.
    Py_ssize_t start
    Py_ssize_t end
    Py_ssize_t pointer_start
    Py_ssize_t pointer_end
    unsigned int marks

cdef struct Found:
    # The entries, in memory of PyMem_Raw; `start` and `end` of the value at the path, both 0 where there is none.
    Entry *entries
    Py_ssize_t count
    Py_ssize_t room
    Py_ssize_t start
    Py_ssize_t end
    bint is_list
    unsigned int marks  # of what is outside the list
    int problem
    Py_ssize_t at  # where the problem is

# `text` has to be followed by a zero byte. Paths have a few steps, far fewer than brackets may be nested.
cdef void scan(
    const unsigned char *text, Py_ssize_t size, const Name *path, int steps, const Name *pointer, int pointer_steps,
    Found *found,
) noexcept nogil
cdef void point(
    const unsigned char *text, Py_ssize_t size, Entry *entry, const Name *pointer, int pointer_steps
) noexcept nogil
