"""Evaluations of GitHub's repository rulesets: https://docs.github.com/en/rest/orgs/rule-suites"""

from typing import Any, Literal

from pydantic import Field

from grove.connectors.github import _api
from grove.connectors.rest import DAY, HOUR, REVERSE_CHRONOLOGICAL, FollowUp, Link, RestConnector, Source, times
from grove.exceptions import NotFoundException
from grove.helpers import clock

_PERIODS = {"hour": HOUR, "day": DAY, "week": 7 * DAY, "month": 30 * DAY}


class Connector(RestConnector):
    """Rule suites of an organisation's repositories, each with its details; `operation` is pass, fail, bypass or all.

    `identity` is the organisation's short name, `key` a token that may read its administration. Newest first. Each
    entry costs a request of its own: a busy organisation may use up its rate limit. The API goes back an hour, a
    day, a week or a month; a longer period than configured is asked for where the pointer needs it.
    """

    CONNECTOR = "github_rulesets"
    POINTER_PATH = "pushed_at"
    LOG_ORDER = REVERSE_CHRONOLOGICAL
    STREAM_FIELDS = ("fqdn",)

    class Configuration(_api.Configuration):
        """The fields of a configuration document."""

        operation: Literal["all", "pass", "fail", "bypass"] = "all"
        time_period: Literal["hour", "day", "week", "month"] = Field(
            "day", description="How far back the first run goes, and every other one at least."
        )

    SOURCE = Source(
        url="https://{+root}/orgs/{identity}/rulesets/rule-suites",
        params={"rule_suite_result": "{operation}", "time_period": "{period}", "per_page": 100},
        headers=_api.HEADERS,
        auth=_api.AUTH,
        paging=Link(),
        follow_up=FollowUp(url="https://{+root}/orgs/{identity}/rulesets/rule-suites/{id}"),
        rate_limit=_api.RATE_LIMIT,
        first_run=31 * DAY,
        retention=30 * DAY,
        trim=True,
    )

    def variables(self) -> dict[str, Any]:
        """`root`, and the `period` that reaches back to the pointer."""
        return {**_api.root(self.fields.fqdn), "period": self._period()}

    def _period(self) -> str:
        wanted: str = self.fields.time_period
        try:
            moment = times.moment_of(self.since)
        except NotFoundException:
            return wanted
        age = 0.0 if moment is None else (times.nanoseconds(clock.now()) - moment) / times.SECOND
        names = list(_PERIODS)
        # A minute more, for the time until the request is made.
        long_enough = (name for name in names[names.index(wanted) :] if _PERIODS[name] >= age + 60)
        return next(long_enough, names[-1])
