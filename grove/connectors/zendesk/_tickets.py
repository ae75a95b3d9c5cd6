"""What Zendesk's streams of tickets have in common."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from grove.connectors.rest import MINUTE, FollowUp, Source
from grove.connectors.zendesk import _api

# https://developer.zendesk.com/api-reference/ticketing/tickets/ticket_comments/
_COMMENTS = FollowUp(
    url=f"{_api.ROOT}/tickets/{{id}}/comments.json",
    params={"include_inline_images": "{include_attachments}"},
    path="comments",
    next="next_page",
    into="comments",
)

Statuses: TypeAlias = Annotated[
    list[Literal["new", "open", "pending", "hold", "solved", "closed"]],
    Field(
        min_length=1,
        description="Tickets with which statuses to collect. `status` may be one of them in its place.",
    ),
]

# A ticket is another entry once it has changed. Links in its comments may change without that.
UNIQUE = "[id, updated_at]"


class TicketsConnector(_api.ZendeskConnector):
    """Fields that every stream of tickets has."""

    POINTER_PATH = "updated_at"
    STREAM_FIELDS = ("subdomain", "statuses")

    class Configuration(_api.ZendeskConnector.Configuration):
        """The fields of a configuration document."""

        statuses: Statuses
        include_comments: bool = Field(
            True, description="Whether to ask for the comments of each ticket, which costs a request of its own."
        )
        include_attachments: bool = Field(True, description="Whether comments tell of inline images, too.")
        delay_minutes: int = Field(5, ge=1, description="Minutes that tickets are given to settle in.")

        @model_validator(mode="before")
        @classmethod
        def _of_one_status(cls, given: dict[str, Any]) -> dict[str, Any]:
            one = {"statuses": [given["status"]]} if given.get("status") else {}
            return {**one, **given}

        @field_validator("statuses")
        @classmethod
        def _in_one_order(cls, statuses: list[str]) -> list[str]:
            # They tell streams apart.
            return sorted(set(statuses))

    def source(self) -> Source:
        """With the document's delay and comments."""
        follow_up = _COMMENTS if self.fields.include_comments else None
        delay = float(self.fields.delay_minutes * MINUTE)
        return self.SOURCE.model_copy(update={"delay": delay, "follow_up": follow_up})
