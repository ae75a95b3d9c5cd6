"""Snowflake's queries: https://docs.snowflake.com/en/sql-reference/account-usage/query_history"""

from grove.connectors.rest import HOUR
from grove.connectors.snowflake import _history


class Connector(_history.HistoryConnector):
    """Queries that were run in a Snowflake account, and who ran them.

    Oldest first, for the last year; the first run asks for the last hour. A query can be seen up to 45 minutes after it
    has ended: `lookback` has to be longer than that and the longest query together.
    """

    CONNECTOR = "snowflake_query_history"
    POINTER_PATH = "START_TIME"
    SOURCE = _history.source(
        "QUERY_ID, SESSION_ID, QUERY_TEXT, USER_NAME, ROLE_NAME, START_TIME, END_TIME",
        "QUERY_HISTORY",
        "START_TIME",
        first_run=HOUR,
        lookback=2 * HOUR,
    )
