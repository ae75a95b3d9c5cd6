"""Why an attempt did not succeed, in words that contain nothing of the request, and whether another one may."""

from dataclasses import dataclass

from grove.http.response import Response

__all__ = ["Failure", "from_status"]

_HINTS = {
    400: "Check the parameters in the stream's document.",
    401: "Check that the credentials are complete, in force, and of this tenant.",
    403: "Check that the credentials may read this log, and that the tenant's plan includes it.",
    404: "Check the identity and the address in the stream's document.",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """`text` is the end of a sentence that begins with "GET host/path".

    `again` says that the same request may succeed later, `limited` that the vendor asked for patience, `down` that the
    host is out of order rather than dissatisfied. `wait` is what the vendor asked for, in seconds.
    """

    text: str
    status: int | None = None
    again: bool = False
    limited: bool = False
    down: bool = False
    wait: float | None = None


def from_status(response: Response, hint: bool = True) -> str:
    """What a status that is no success says, with the start of what the vendor wrote about it."""
    parts = [f"answered status {response.status}"]
    text = "an HTML page" if response.is_html else response.excerpt()
    if text:
        parts.append(f", saying: {text}")
    parts.append("." if not text.endswith((".", "!")) else "")
    if hint and response.status in _HINTS:
        parts.append(f" {_HINTS[response.status]}")
    return "".join(parts)
