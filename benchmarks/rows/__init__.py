"""The rows of the table, a module for each subject: `rows(places, rounds)` gives them as they are measured."""

from benchmarks.rows import core, memory, pages, processes, rivals, runs, saving

SUBJECTS = {
    "core": core.rows,
    "save": saving.rows,
    "page": pages.rows,
    "rivals": rivals.rows,
    "memory": memory.rows,
    "processes": processes.rows,
    "runs": runs.rows,
}
