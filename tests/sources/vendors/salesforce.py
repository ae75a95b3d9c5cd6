"""Salesforce: a token that says where the org is, SOQL, links to more records, and files of CSV."""

import re
from typing import Any, ClassVar

from grove.connectors.rest import times
from grove.connectors.sf.event_log import Connector as EventLog
from grove.connectors.sf.field_audit_trail import Connector as FieldAuditTrail
from grove.connectors.sf.setup_audit_trail import Connector as SetupAuditTrail
from grove.connectors.sf.threat_detection import Connector as ThreatDetection

from ..vendor import NOW, SECOND, TOKEN, WRONG, Answered, Asked, RefusedError, Vendor, moment, only

DATA = "/services/data/v64.0"
WRITTEN = "%Y-%m-%dT%H:%M:%S.000+0000"


class _Salesforce(Vendor):
    wrong = {"client_secret": WRONG}
    first = 4_300
    page_size = 2_000
    fields: ClassVar[str]
    """What has to be selected."""

    def __init__(self) -> None:
        self.results: dict[str, list[Any]] = {}
        self.signed_in = 0
        self.names_itself = True
        super().__init__()
        self.document = {  # type: ignore[misc]
            **type(self).document,
            "instance_url": f"{self.url}/",
            "client_id": "app",
            "client_secret": "s3cret-of-the-app",
        }

    def token(self, asked: Asked) -> Answered | None:
        if asked.path != "/services/oauth2/token":
            return None
        self.signed_in += 1
        only(asked.form, "grant_type!", "client_id!", "client_secret!")
        assert asked.form["grant_type"] == "client_credentials"
        if (asked.form["client_id"], asked.form["client_secret"]) != ("app", "s3cret-of-the-app"):
            raise RefusedError(400, {"error": "invalid_client", "error_description": "invalid client credentials"})
        return Answered({"access_token": TOKEN, **({"instance_url": self.url} if self.names_itself else {})})

    def authorize(self, asked: Asked) -> None:
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            raise refused(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def limited(self, seconds: int) -> Answered:
        error = {"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}
        return Answered([error], 403, {"Retry-After": str(seconds)})

    def number_of(self, entry: dict[str, Any]) -> int:
        return int(entry["Id"].removeprefix("0X"))

    def answer(self, asked: Asked) -> Answered:
        if asked.path == f"{DATA}/query":
            only(asked.query, "q!")
            match = re.fullmatch(r"SELECT (.+?) FROM (\w+) WHERE (.+?)(?: ORDER BY (.+))?", asked.query["q"])
            assert match is not None
            assert match[1] == self.fields
            locator = f"01g{len(self.results)}"
            self.results[locator] = self.found(match[2], match[3].split(" AND "), match[4])
            return self.page(locator, None)
        only(asked.query)
        locator, _, place = asked.path.removeprefix(f"{DATA}/query/").partition("-")
        return self.page(locator, place)

    def page(self, locator: str, place: str | None) -> Answered:
        found = self.results[locator]
        part = self.part(found, place)
        more = {"nextRecordsUrl": f"{DATA}/query/{locator}-{part.next}"} if part.more else {}
        return Answered({"totalSize": len(found), "done": not more, "records": part.entries, **more})

    def found(self, table: str, conditions: list[str], order: str | None) -> list[Any]:
        """The records of a query."""
        raise NotImplementedError


def refused(status: int, code: str, message: str) -> RefusedError:
    return RefusedError(status, [{"message": message, "errorCode": code}])


def bound(condition: str, field: str) -> int:
    """From when on a condition asks."""
    match = re.fullmatch(rf"{field} >= (\S+Z)", condition)
    if match is None:
        raise refused(400, "MALFORMED_QUERY", f"unexpected {condition}")
    return moment(match[1])


class SetupAuditTrailVendor(_Salesforce):
    connector = SetupAuditTrail
    fields = "Id, Action, Section, CreatedBy.Username, CreatedDate, DelegateUser, Display"

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        by = {"attributes": {"type": "User"}, "Username": "admin@example.org"} if number % 3 else None
        return {
            "attributes": {"type": "SetupAuditTrail"},
            "Id": f"0X{number}",
            "Action": "PermSetAssign",
            "Section": "Manage Users",
            "CreatedBy": by,
            "CreatedDate": times.written(moment, WRITTEN),
            "DelegateUser": None,
            "Display": "Permission set assigned to Ada",
        }

    def found(self, table: str, conditions: list[str], order: str | None) -> list[Any]:
        assert (table, order) == ("SetupAuditTrail", "CreatedDate ASC")
        (condition,) = conditions
        return self.between(bound(condition, "CreatedDate"), newest_first=False)


class _Described(_Salesforce):
    big = ""
    """How the index of a big object orders it, which cannot be asked for in any other way."""

    def is_page(self, asked: Asked) -> bool:
        return not asked.path.endswith("/describe")

    def answer(self, asked: Asked) -> Answered:
        if self.is_page(asked):
            return super().answer(asked)
        assert asked.path == f"{DATA}/sobjects/{self.table()}/describe"
        fields = [{"name": name, "sortable": not self.big} for name in self.fields.split(", ")]
        return Answered({"name": self.table(), "fields": fields})

    def table(self) -> str:
        """The object's name."""
        raise NotImplementedError

    def ordered(self, since: int, by: str, order: str | None) -> list[Any]:
        """What is found, as it was asked for or as it lies in the index."""
        if order != (None if self.big else f"{by} ASC"):
            raise refused(400, "MALFORMED_QUERY", "ORDER BY does not follow the index")
        return self.between(since, newest_first=self.big == "newest first")


class FieldAuditTrailVendor(_Described):
    connector = FieldAuditTrail
    document = {"object_type": "Account"}
    fields = "Id, ParentId, FieldHistoryType, Field, OldValue, NewValue, CreatedDate"
    # So that a day of them, which is asked for again, fits into one page.
    spacing = 60 * SECOND
    age = 5 * 86_400 * SECOND

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {
            "attributes": {"type": "FieldHistoryArchive"},
            "Id": f"0X{number}",
            "ParentId": f"001{number % 50:02}",
            "FieldHistoryType": "Account",
            "Field": "Industry",
            "OldValue": None,
            "NewValue": "Tech",
            "CreatedDate": times.written(moment, WRITTEN),
        }

    def found(self, table: str, conditions: list[str], order: str | None) -> list[Any]:
        assert table == self.table()
        kind, condition = conditions
        assert kind == "FieldHistoryType = 'Account'"
        found = self.ordered(bound(condition, "CreatedDate"), "CreatedDate", order)
        return sorted(found, key=lambda entry: str(entry["ParentId"])) if self.big else found

    def table(self) -> str:
        return "FieldHistoryArchive"


class ThreatDetectionVendor(_Described):
    connector = ThreatDetection
    document = {"operation": "ReportAnomaly"}
    granularity = SECOND // 1000
    fields = "Id, EventDate, Score, SecurityEventData"

    def entry(self, moment: int, number: int) -> dict[str, Any]:
        return {
            "attributes": {"type": "ReportAnomalyEventStore", "url": f"{DATA}/sobjects/ReportAnomalyEventStore/0X"},
            "Id": f"0X{number}",
            "EventDate": str(times.written(moment, "iso_ms")).replace("Z", "+0000"),
            "Score": 0.92,
            "SecurityEventData": '[{"featureName":"rowCount"}]',
        }

    def table(self) -> str:
        return f"{self.document['operation']}EventStore"

    def found(self, table: str, conditions: list[str], order: str | None) -> list[Any]:
        assert table == self.table()
        (condition,) = conditions
        return self.ordered(bound(condition, "EventDate"), "EventDate", order)


class EventLogVendor(_Salesforce):
    connector = EventLog
    first = 2_300
    page_size = 1_000
    """How many events a file has."""

    pages_by = "offset"
    granularity = SECOND // 1000
    fields = "Id, ApiVersion, EventType, Interval, Sequence, CreatedDate, LogDate, LogFileLength, LogFile"
    type = "Login"

    def __init__(self) -> None:
        self.files: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.generated = times.nanoseconds(NOW) - 9 * 3600 * SECOND
        super().__init__()

    def offer(self, count: int) -> None:
        known = len(self.entries)
        super().offer(count)
        self.generate(range(known, len(self.entries)))

    def tie(self, count: int) -> None:
        known = len(self.entries)
        super().tie(count)
        self.generate(range(known, len(self.entries)))

    def offer_late(self, count: int, seconds: float) -> None:
        known = len(self.entries)
        super().offer_late(count, seconds)
        self.generate(range(known, len(self.entries)))

    def compact(self) -> None:
        super().compact()
        self.files.clear()

    def is_page(self, asked: Asked) -> bool:
        return asked.path.endswith("/LogFile")

    def generate(self, numbers: range) -> None:
        """Files of these entries; every one in a daily and in an hourly file."""
        for start in range(numbers.start, numbers.stop, self.page_size):
            part = range(start, min(start + self.page_size, numbers.stop))
            content = self.content([self.entries[number] for number in part])
            for interval in ("Daily", "Hourly"):
                self.add(content, interval)

    def add(self, content: bytes, interval: str = "Daily", **fields: Any) -> dict[str, Any]:
        """One more file."""
        name = f"0AT{len(self.contents)}"
        self.generated += 60 * SECOND
        self.contents[name] = content
        self.files[name] = {
            "Id": name,
            "ApiVersion": 64.0,
            "EventType": self.type,
            "Interval": interval,
            "Sequence": 0 if interval == "Daily" else 1,
            "CreatedDate": times.written(self.generated, WRITTEN),
            "LogDate": "2026-11-23T00:00:00.000+0000",
            "LogFileLength": float(len(content)),
            "LogFile": f"{DATA}/sobjects/EventLogFile/{name}/LogFile",
            **fields,
        }
        return self.files[name]

    def content(self, entries: list[tuple[int, int]]) -> bytes:
        """A file with these entries."""
        lines = ['"EVENT_TYPE","TIMESTAMP","REQUEST_ID","MESSAGE","TIMESTAMP_DERIVED"']
        for at, number in entries:
            plain = str(times.written(at, "%Y%m%d%H%M%S.%f"))[:-3]
            words = '"said ""hello"",\nand ü left"' if number % 7 == 0 else '""'
            lines.append(f'"{self.type}","{plain}","{number}",{words},"{times.written(at, "iso_ms")}"')
        return "\n".join([*lines, ""]).encode()

    def number_of(self, entry: dict[str, Any]) -> int:
        number = int(entry["REQUEST_ID"])
        assert entry["MESSAGE"] == ('said "hello",\nand ü left' if number % 7 == 0 else "")
        return number

    def answer(self, asked: Asked) -> Answered:
        match = re.fullmatch(rf"{DATA}/sobjects/EventLogFile/(\w+)/LogFile", asked.path)
        if match is None:
            return super().answer(asked)
        return Answered(self.contents[match[1]])

    def found(self, table: str, conditions: list[str], order: str | None) -> list[Any]:
        assert (table, order) == ("EventLogFile", "CreatedDate ASC")
        first, interval, *of_type = conditions
        field = first.split()[0]
        assert field in ("LogDate", "CreatedDate")
        since = bound(first, field)
        kind = interval.removeprefix("Interval = ").strip("'")
        assert of_type in ([], [f"EventType = '{self.type}'"])
        return [file for file in self.files.values() if moment(file[field]) >= since and file["Interval"] == kind]
