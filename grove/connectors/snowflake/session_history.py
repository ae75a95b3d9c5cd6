"""Snowflake's sessions: https://docs.snowflake.com/en/sql-reference/account-usage/sessions"""

from grove.connectors.rest import HOUR
from grove.connectors.snowflake import _history


class Connector(_history.HistoryConnector):
    """Sessions of a Snowflake account: who began them, by which client, and how they signed in.

    Oldest first, for the last year. Sessions can be seen up to three hours later; each is delivered once, as it is
    then.
    """

    CONNECTOR = "snowflake_session_history"
    POINTER_PATH = "CREATED_ON"
    SOURCE = _history.source(
        "*",
        "SESSIONS",
        "CREATED_ON",
        lookback=3 * HOUR,
        # Once a session has ended, its row says why.
        unique="[SESSION_ID, CREATED_ON]",
    )
