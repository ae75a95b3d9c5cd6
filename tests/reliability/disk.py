"""A file system that can lose power: what was not made durable may be gone afterwards, in any combination.

The calls themselves go to a real directory; beside it the model keeps what an fsync has covered. A file's content
is durable after an fsync of the file, a name (creation, rename, link, removal, new folder) after an fsync of its
folder. Nothing else is promised, and no order between them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Tree = dict[str, Any]
"""A folder's content: names to bytes (a file) or to another tree."""


@dataclass(eq=False, slots=True)
class File:
    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""


@dataclass(eq=False, slots=True)
class Folder:
    now: dict[str, File | Folder] = field(default_factory=dict)
    durable: dict[str, File | Folder] = field(default_factory=dict)
    # (names removed, names added) of every change since the last fsync
    changes: list[tuple[tuple[str, ...], dict[str, File | Folder]]] = field(default_factory=list)

    def change(self, removed: tuple[str, ...], added: dict[str, File | Folder]) -> None:
        for name in removed:
            del self.now[name]
        self.now.update(added)
        self.changes.append((removed, added))

    def sync(self) -> None:
        self.durable = dict(self.now)
        self.changes = []


class Disk:
    """The model of everything below `root`, which exists and is durable itself."""

    def __init__(self, root: Path) -> None:
        self.root = os.fspath(root)
        self.top = Folder()

    # --- what happened ---

    def holds(self, place: Any) -> bool:
        """Whether a path, or what an open descriptor stands for, is the root or lies below it."""
        path = os.readlink(f"/proc/self/fd/{place}") if isinstance(place, int) else os.fspath(place)
        return path == self.root or path.startswith(f"{self.root}{os.sep}")

    def made(self, path: Any, *_: Any) -> None:
        folder, name = self._place(path)
        folder.change((), {name: Folder()})

    def created(self, path: Any, *_: Any) -> None:
        folder, name = self._place(path)
        if name not in folder.now:
            folder.change((), {name: File()})

    def wrote(self, handle: int, data: bytes) -> None:
        node = self._behind(handle)
        assert isinstance(node, File)
        node.data += data

    def synced(self, handle: int) -> None:
        node = self._behind(handle)
        if isinstance(node, File):
            node.durable = bytes(node.data)
        else:
            node.sync()

    def renamed(self, source: Any, target: Any, *_: Any) -> None:
        (old, name), (new, other) = self._place(source), self._place(target)
        node = old.now[name]
        if old is new:
            old.change((name,), {other: node})
        else:
            new.change((), {other: node})
            old.change((name,), {})

    def linked(self, source: Any, target: Any, *_: Any) -> None:
        folder, name = self._place(target)
        folder.change((), {name: self._find(source)})

    def unlinked(self, path: Any, *_: Any) -> None:
        folder, name = self._place(path)
        folder.change((name,), {})

    def taken(self, path: str) -> None:
        """Somebody else has removed the file, for good."""
        os.unlink(path)
        folder, name = self._place(path)
        del folder.now[name]
        folder.durable.pop(name, None)

    # --- losing power ---

    def unsure(self) -> list[tuple[Folder, int] | File]:
        """Everything that a loss of power may undo, each on its own."""
        found: list[tuple[Folder, int] | File] = []
        self._unsure(self.top, found, set())
        return found

    def _unsure(self, folder: Folder, found: list[tuple[Folder, int] | File], visited: set[int]) -> None:
        if id(folder) in visited:
            return
        visited.add(id(folder))
        found.extend((folder, index) for index in range(len(folder.changes)))
        for node in {*folder.now.values(), *folder.durable.values()}:
            if isinstance(node, Folder):
                self._unsure(node, found, visited)
            elif node.data != node.durable and id(node) not in visited:
                visited.add(id(node))
                found.append(node)

    def image(self, lost: Iterable[tuple[Folder, int] | File] = (), torn: bool = False) -> Tree:
        """What is left where `lost` was undone: of what was written to a file since its last fsync nothing, or half.

        Files grow, and are never overwritten with something else.
        """
        changes = {(id(item[0]), item[1]) for item in lost if isinstance(item, tuple)}
        contents: dict[int, bytes] = {}
        for item in lost:
            if isinstance(item, File):
                kept = (len(item.durable) + len(item.data)) // 2 if torn else len(item.durable)
                contents[id(item)] = bytes(item.data[:kept])
        return self._image(self.top, changes, contents)

    def _image(self, folder: Folder, changes: set[tuple[int, int]], contents: dict[int, bytes]) -> Tree:
        entries = dict(folder.durable)
        for index, (removed, added) in enumerate(folder.changes):
            if (id(folder), index) not in changes:
                for name in removed:
                    entries.pop(name, None)
                entries.update(added)
        tree: Tree = {}
        for name, node in entries.items():
            if isinstance(node, Folder):
                tree[name] = self._image(node, changes, contents)
            else:
                # One object for all names of a file, by which `restore` knows hard links.
                tree[name] = contents.setdefault(id(node), bytes(node.data))
        return tree

    def restore(self, tree: Tree) -> None:
        """Make the directory and the model what `tree` says, all of it durable."""
        for entry in os.scandir(self.root):
            shutil.rmtree(entry.path) if entry.is_dir() else os.unlink(entry.path)
        self.top = _write_tree(self.root, tree, {})

    # --- paths ---

    def _behind(self, handle: int) -> File | Folder:
        return self._find(os.readlink(f"/proc/self/fd/{handle}"))

    def _find(self, path: Any) -> File | Folder:
        node: File | Folder = self.top
        for name in self._names(path):
            assert isinstance(node, Folder)
            node = node.now[name]
        return node

    def _place(self, path: Any) -> tuple[Folder, str]:
        *above, name = self._names(path)
        node: File | Folder = self.top
        for part in above:
            assert isinstance(node, Folder)
            node = node.now[part]
        assert isinstance(node, Folder)
        return node, name

    def _names(self, path: Any) -> list[str]:
        relative = os.path.relpath(os.fspath(path), self.root)
        return [] if relative == "." else relative.split(os.sep)


def _write_tree(path: str, tree: Tree, written: dict[int, tuple[str, File]]) -> Folder:
    folder = Folder()
    for name, content in tree.items():
        place = f"{path}/{name}"
        if isinstance(content, dict):
            os.mkdir(place, 0o700)
            folder.now[name] = _write_tree(place, content, written)
        elif len(content) > 1 and id(content) in written:
            first, folder.now[name] = written[id(content)]
            os.link(first, place)
        else:
            with open(place, "wb") as file:
                file.write(content)
            made = folder.now[name] = File(bytearray(content), content)
            written[id(content)] = place, made
    folder.durable = dict(folder.now)
    return folder
