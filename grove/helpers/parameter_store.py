"""Parameters of AWS Systems Manager, in which configuration documents and secrets are kept.

https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParametersByPath.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from grove.exceptions import AccessException, NotFoundException
from grove.helpers import aws

__all__ = ["Parameter", "ParameterStore"]

_MISSING = frozenset({"ParameterNotFound", "ParameterVersionNotFound"})
_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException"}
)
# How a listing fails in which one value has been encrypted with a key that we may not use, or that is gone.
_UNREADABLE = frozenset({"AccessDeniedException", "InvalidKeyId", "KMSInvalidStateException"})


class Parameter(NamedTuple):
    """What lies under `name`; where it cannot be read, the `value` is None and `problem` says why."""

    name: str
    value: str | None
    problem: str = ""


class ParameterStore:
    """The parameters of a region: its own (None: the one that AWS tools use), with a `role` to assume first, or none.

    AccessException where the store refuses or does not answer.
    """

    def __init__(self, session_name: str, region: str | None, role: str | None) -> None:
        self._access = aws.Access("ssm", session_name, region=region or None, role=role or None)

    def get(self, name: str) -> str:
        """The value of the parameter `name`, decrypted: a name, an ARN, or either with `:version` or `:label`.

        NotFoundException where there is none.
        """
        what = f"The SSM parameter {name!r}"
        found = self._call(what, "get_parameter", "Parameter", Name=name, WithDecryption=True)
        value: str = found["Parameter"]["Value"]
        return value

    def below(self, path: str) -> list[Parameter]:
        """Every parameter below `path`, by name."""
        try:
            found = list(self._listed(path, decrypted=True))
        except AccessException as err:
            if _code(err.__cause__) not in _UNREADABLE:
                raise
            # One of them is enough to fail a whole page.
            found = [self._read(each) for each in self._listed(path, decrypted=False)]
        parameters = [Parameter(each["Name"], each["Value"], each.get("Problem", "")) for each in found]
        return sorted(parameters, key=lambda parameter: parameter.name)

    def _listed(self, path: str, decrypted: bool) -> Iterator[dict[str, Any]]:
        what = f"The SSM parameters below {path!r}"
        request: dict[str, Any] = {"Path": path, "Recursive": True, "WithDecryption": decrypted}
        while True:
            page = self._call(what, "get_parameters_by_path", "Parameters", **request)
            yield from page["Parameters"]
            # A page may be empty without being the last one.
            token = page.get("NextToken")
            if not token:
                return
            if token == request.get("NextToken"):
                raise AccessException(f"{what} have no end: a page leads to itself.")
            request["NextToken"] = token

    def _read(self, listed: dict[str, Any]) -> dict[str, Any]:
        if listed["Type"] != "SecureString":
            return listed
        try:
            return {**listed, "Value": self.get(listed["Name"])}
        except (AccessException, NotFoundException) as err:
            return {**listed, "Value": None, "Problem": str(err)}

    def _call(self, what: str, operation: str, part: str, **parameters: Any) -> Any:
        """The answer to a request, which has that `part`."""
        try:
            answer = self._access.call(operation, **parameters)
            if part in answer:
                return answer
        except ResponseParserError:
            # Not chained, nor told: that error quotes the answer, and so perhaps a secret.
            pass
        except (ClientError, BotoCoreError, ValueError) as err:
            code = _code(err)
            if code in _MISSING:
                raise NotFoundException(f"{what} does not exist.") from err
            advice = " Grant ssm:GetParameter and ssm:GetParametersByPath, and kms:Decrypt." if code in _DENIED else ""
            raise AccessException(f"{what} cannot be read: {err}.{advice}") from err
        raise AccessException(f"{what} cannot be read: what answers is not the parameter store.")


def _code(err: BaseException | None) -> str:
    return str(err.response["Error"]["Code"]) if isinstance(err, ClientError) else ""
