"""Snowflake's logins: https://docs.snowflake.com/en/sql-reference/account-usage/login_history"""

from grove.connectors.rest import HOUR
from grove.connectors.snowflake import _history


class Connector(_history.HistoryConnector):
    """Who signed in to a Snowflake account, or tried to.

    Oldest first, for the last year. Logins can be seen up to two hours later.
    """

    CONNECTOR = "snowflake_login_history"
    POINTER_PATH = "EVENT_TIMESTAMP"
    SOURCE = _history.source("*", "LOGIN_HISTORY", "EVENT_TIMESTAMP", lookback=2 * HOUR)
