"""Several outputs at once: each gets every page, and a page is committed when all have staged or accepted it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from grove.constants import ENV_GROVE_OUTPUT_HANDLER, PLUGIN_GROUP_OUTPUT
from grove.exceptions import ConfigurationException
from grove.helpers import plugin
from grove.outputs import BaseOutput
from grove.outputs._adapter import overrides_serialize, submit_with

__all__ = ["Several", "load", "members", "payloads"]


class Several(BaseOutput):
    """`outputs` as one, of which each packs and delivers in its own way; those that can stage come first.

    ConfigurationException where one is there twice, or serialises entries itself.
    """

    def __init__(self, outputs: Sequence[BaseOutput]) -> None:
        super().__init__()
        modules = [type(output).__module__ for output in outputs]
        for output, module in zip(outputs, modules, strict=True):
            if modules.count(module) > 1:
                raise ConfigurationException(f"{ENV_GROVE_OUTPUT_HANDLER} names the output {module} twice.")
            if overrides_serialize(output):
                raise ConfigurationException(
                    f"The output {module} has a serialize() of its own, and so cannot be one of several in "
                    f"{ENV_GROVE_OUTPUT_HANDLER}. Use it alone, or let it override pack() instead."
                )
        # What is accepted cannot be taken back: it is offered once everything is staged.
        self.outputs = tuple(sorted(outputs, key=lambda output: getattr(output, "SCOPE", None) is None))

    def setup(self) -> None:
        """Set all of them up. Errors are theirs."""
        for output in self.outputs:
            output.setup()

    def pack(self, ndjson: bytes) -> bytes:
        """The lines as they are, for each output to pack."""
        return ndjson

    def submit(self, data: bytes, *args: Any, **kwargs: Any) -> None:
        """Deliver `data` through each of them, for callers that commit nothing. Errors are theirs."""
        for output, packed in payloads(self, data):
            submit_with(output, data=packed, **kwargs)


def load(names: str) -> BaseOutput:
    """The output called `names`, or the outputs with commas between them as one; not set up.

    ConfigurationException where there is none of that name, or where they cannot be combined.
    """
    if "," not in names:
        output: BaseOutput = plugin.load_handler(names, PLUGIN_GROUP_OUTPUT)
        return output
    return Several([plugin.load_handler(name.strip(), PLUGIN_GROUP_OUTPUT) for name in names.split(",")])


def members(output: BaseOutput) -> tuple[BaseOutput, ...]:
    """The outputs that `output` stands for."""
    return output.outputs if isinstance(output, Several) else (output,)


def payloads(output: BaseOutput, data: bytes) -> Iterator[tuple[BaseOutput, bytes]]:
    """What each of the outputs gets of `data`, which `output` has packed."""
    if not isinstance(output, Several):
        yield output, data
        return
    usual: bytes | None = None
    for member in output.outputs:
        if type(member).pack is not BaseOutput.pack:
            yield member, member.pack(data)
            continue
        if usual is None:
            usual = member.pack(data)
        yield member, usual
