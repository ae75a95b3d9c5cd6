"""Zoom's report of operations."""

from grove.connectors.zoom import _report


class Connector(_report.ZoomConnector):
    """What the administrators of a Zoom account did. The app needs the scope report:read:admin.

    Newest first, up to 300 a page.
    """

    CONNECTOR = "zoom_operationlogs"
    SOURCE = _report.source("operationlogs", "operation_logs")
