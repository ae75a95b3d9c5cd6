"""Zoom's report of activities."""

from grove.connectors.zoom import _report


class Connector(_report.ZoomConnector):
    """Sign-ins and sign-outs of a Zoom account's users. The app needs the scope report:read:admin.

    Newest first, up to 300 a page.
    """

    CONNECTOR = "zoom_activities"
    SOURCE = _report.source("activities", "activity_logs")
