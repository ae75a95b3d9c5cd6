"""Plugins that are there to be found, as `pip install` leaves them, without pip."""

from pathlib import Path

__all__ = ["offer"]


def offer(folder: Path, group: str, plugins: dict[str, str], name: str = "offered") -> None:
    """Make the distribution `name` in `folder`, which has to be on `sys.path`: it offers `plugins` in `group`.

    `plugins` are names, and where each of them is: `module:attribute`.
    """
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{plugin} = {value}" for plugin, value in plugins.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
