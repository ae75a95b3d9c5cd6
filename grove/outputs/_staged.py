"""Delivery at once, through an output that can stage, for callers that commit nothing."""

import contextlib
import secrets

from grove.exceptions import AccessException
from grove.helpers import clock
from grove.outputs import BaseOutput, ObjectName

__all__ = ["submit_staged"]


def submit_staged(
    output: BaseOutput,
    data: bytes,
    *,
    connector: str,
    identity: str,
    operation: str,
    part: int,
    kind: str,
    descriptor: str,
) -> None:
    """Deliver one object that nobody has committed: visible, whole and durable on return. No name is used twice.

    Errors are those of the output; what was staged is then removed.
    """
    tag = secrets.token_hex(8)
    staged = output.stage(
        ObjectName(
            descriptor=descriptor or "",
            connector=connector,
            identity=identity,
            operation=operation,
            part=part,
            moment=clock.now(),
            tag=tag,
            kind=kind,
            attempt=f"submit-{tag}",
        ),
        data,
    )
    try:
        output.publish(staged)
        output.settle([staged], [])
    except BaseException:
        with contextlib.suppress(AccessException):
            output.discard(staged)
        raise
