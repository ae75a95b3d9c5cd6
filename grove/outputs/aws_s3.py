"""Objects in an S3 bucket: each appears whole, once, and never in place of another.

A page is staged as an upload in one part that is not completed: durable, billed, and seen by nobody. Completing it is
the rename of this world: it makes the object visible and uses up the upload, so that neither a repetition nor another
host that does the same can show the page again, even where a reader has taken the object away meanwhile.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
"""

import base64
import contextlib
import hashlib
from collections.abc import Iterator
from datetime import date, timedelta
from time import sleep
from typing import Any, ClassVar

from blake3 import blake3
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from grove.exceptions import AccessException, ConfigurationException
from grove.helpers import aws, clock
from grove.logging import register_secret
from grove.outputs import BaseOutput, ObjectName
from grove.outputs._compression import CompressionSettings
from grove.outputs._staged import submit_staged

__all__ = ["Handler", "access"]

ENV_PREFIX = "GROVE_OUTPUT_AWS_S3_"
SESSION_NAME = "GroveOutputWriter"

HASH = "grove-blake3"
"""The name under which an object's own metadata carry the hash of its content, as hex digits."""

ATTEMPTS = 4
"""How often a completion is tried whose outcome is in doubt."""

SAFE_AGE = timedelta(hours=23)
"""For so long no lifecycle rule can have removed an upload: they count whole days."""

_GONE = "NoSuchUpload"
_TAKEN = "PreconditionFailed"
_CONFLICT = "ConditionalRequestConflict"
_NO_OBJECT = frozenset({"404", "NoSuchKey"})
_NO_BUCKET = frozenset({"404", "NoSuchBucket", "ParamValidationError", "ValueError"})
_NO_CREDENTIALS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "NoCredentialsError", "PartialCredentialsError", *aws.EXPIRED}
)
_DENIED = frozenset({"403", "AccessDenied"})

_reached: set[tuple[aws.Access, str]] = set()


class RequestError(AccessException):
    """A request failed. `code` is what S3 calls the error, or the name of botocore's where there was no answer."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Handler(BaseOutput):
    """Stages an object as an upload that is not completed, and completes it when it is published.

    An object is published and discarded in the bucket where it was staged, whatever is configured by then.
    """

    SCOPE: ClassVar[str | None] = "shared"
    EXTRA: ClassVar[str | None] = "aws"

    class Configuration(CompressionSettings):
        """GROVE_OUTPUT_AWS_S3_BUCKET and the rest; `endpoint_url` is another maker's S3.

        `manifest`: whether what is delivered is recorded in manifests, for one more request with each page.
        """

        model_config = SettingsConfigDict(env_prefix=ENV_PREFIX)

        bucket: str = Field(description="The bucket.")
        bucket_region: str | None = Field(
            default=None, description="Its region; without it AWS_REGION, the profile's, or us-east-1."
        )
        endpoint_url: str | None = Field(default=None, description="Another maker's S3.")
        assume_role_arn: str | None = Field(default=None, description="A role to write as.")
        manifest: bool = Field(default=False, description="Whether what is delivered is recorded in manifests.")
        aws_access_key_id: str | None = Field(
            default=None, description="Credentials for this output alone; without them what AWS tools use."
        )
        aws_secret_access_key: SecretStr | None = Field(default=None, description="Belongs to the access key's id.")
        aws_session_token: SecretStr | None = Field(default=None, description="Of temporary credentials.")

    def __init__(self) -> None:
        super().__init__()
        self.codec = self.config.codec()
        self.KIND = f".json{self.codec.suffix}"  # type: ignore[misc]  # as its settings say
        self._conditional = True
        self._access = access(self.config)

    def setup(self) -> None:
        """ConfigurationException where there are no credentials or there is no such bucket.

        A process asks for each bucket once, however many handlers it makes.
        """
        if (self._access, self.config.bucket) in _reached:
            return
        try:
            self._call("head_bucket", self.config.bucket)
            _reached.add((self._access, self.config.bucket))
        except RequestError as err:
            # Who may only write learns nothing of the bucket, and an endpoint that is down may come back.
            if err.code in _NO_BUCKET | _NO_CREDENTIALS:
                raise ConfigurationException(str(err)) from err

    # --- staging ---

    def stage(self, name: ObjectName, data: bytes) -> dict[str, Any]:
        """Upload `data`, which S3 checks by its MD5; AccessException names bucket and key."""
        bucket, key, digest = self.config.bucket, str(name.path()), blake3(data).hexdigest()
        upload = self._call(
            "create_multipart_upload", bucket, key, Metadata={HASH: digest}, ContentType=self.codec.content_type
        )["UploadId"]
        staged = {
            "temp": _temporary(key, upload),
            "path": f"s3://{bucket}/{key}",
            "bucket": bucket,
            "key": key,
            "upload": upload,
            "at": clock.datestamp(clock.now()),
            "size": len(data),
            "blake3": digest,
        }
        try:
            part = self._call(
                "upload_part",
                bucket,
                key,
                UploadId=upload,
                PartNumber=1,
                Body=data,
                ContentMD5=_md5(data),
            )
        except AccessException:
            with contextlib.suppress(AccessException):
                self.discard(staged)
            raise
        return {**staged, "etag": part["ETag"]}

    def publish(self, staged: dict[str, Any]) -> None:
        """Complete the upload. One that is gone was completed before, and its object perhaps taken away.

        AccessException where another object has that name, or where the upload may be gone for another reason.
        """
        attempt = 1
        while (failure := self._complete(staged)) is not None and not self._is_there(staged, failure):
            if attempt == ATTEMPTS:
                self._judge(staged, failure)
                return
            sleep(2.0 ** (attempt - 2))
            attempt += 1

    def _is_there(self, staged: dict[str, Any], failure: RequestError) -> bool:
        """Whether the object is visible, although completing its upload failed like that."""
        found = self._hash_of(staged)
        if found is None or failure.code == _CONFLICT:
            return False
        if failure.code == _TAKEN and found == staged["blake3"]:
            # Another attempt at this page has delivered it.
            self.discard(staged)
        elif failure.code == _TAKEN and self._is_staged(staged):
            raise AccessException(
                f"{staged['path']} is committed, but another object has that name. Move that one elsewhere, then run "
                "again."
            )
        return True

    def _judge(self, staged: dict[str, Any], failure: RequestError) -> None:
        """Neither the object nor its upload is to be seen: raise unless that is how a published object looks."""
        if failure.code != _GONE:
            raise failure
        if clock.now() - clock.parse_datestamp(staged["at"]) > SAFE_AGE:
            raise AccessException(
                f"{staged['path']} was committed at {staged['at']}, but neither it nor its upload is there. Either "
                "the object was taken away, or the upload was removed because of its age, and the page is lost. Once "
                "that is settled, put any object there: the stream then goes on."
            )

    def _complete(self, staged: dict[str, Any]) -> RequestError | None:
        """Complete the upload; the error, where that says something of the object or of the upload."""
        condition = {"IfNoneMatch": "*"} if self._conditional else {}
        try:
            self._call(
                "complete_multipart_upload",
                staged["bucket"],
                staged["key"],
                UploadId=staged["upload"],
                MultipartUpload={"Parts": [{"ETag": staged["etag"], "PartNumber": 1}]},
                **condition,
            )
        except RequestError as err:
            if err.code == "NotImplemented" and condition:
                self._without_conditions(staged["bucket"])
                return self._complete(staged)
            if err.code in (_GONE, _TAKEN, _CONFLICT):
                return err
            raise
        return None

    def _without_conditions(self, bucket: str) -> None:
        self._conditional = False
        self.logger.warning(
            "This S3 knows no conditional writes. Objects have names of their own all the same, so nothing is "
            "overwritten unless somebody else writes to those names.",
            extra={"bucket": bucket},
        )

    def _is_staged(self, staged: dict[str, Any]) -> bool:
        """Whether the upload is there, to be completed or aborted."""
        try:
            self._call("list_parts", staged["bucket"], staged["key"], UploadId=staged["upload"])
        except RequestError as err:
            if err.code != _GONE:
                raise
            return False
        return True

    def _hash_of(self, staged: dict[str, Any]) -> str | None:
        """The hash that the object with this name carries, empty where it has none; None where nothing is seen."""
        try:
            found = self._call("head_object", staged["bucket"], staged["key"])
        except RequestError as err:
            if err.code in _NO_OBJECT | _DENIED:
                return None
            raise
        return str(found["Metadata"].get(HASH, ""))

    def settle(self, published: list[dict[str, Any]], staged: list[dict[str, Any]]) -> None:
        """Nothing: a completed upload is durable."""

    def discard(self, staged: dict[str, Any]) -> None:
        """Abort the upload, unless it is completed."""
        try:
            self._call("abort_multipart_upload", staged["bucket"], staged["key"], UploadId=staged["upload"])
        except RequestError as err:
            if err.code != _GONE:
                raise

    def sweep(self, name: ObjectName, attempts: str, since: date, keep: set[str]) -> bool:
        """Abort the uploads of the page that `name` is for. False, and a warning, where that fails.

        An upload says nothing of the attempt that began it, so that its name decides: the tag in it stands for store,
        stream, sequence and descriptor.
        """
        bucket, ending = self.config.bucket, _ending(str(name.path()))
        try:
            for upload in self._uploads(bucket, f"{name.folder()}/"):
                key, number = upload["Key"], upload["UploadId"]
                if _ending(key) == ending and _temporary(key, number) not in keep:
                    self.discard({"bucket": bucket, "key": key, "upload": number})
        except AccessException as err:
            self.logger.warning(
                "Uploads of an earlier run could not be removed. A lifecycle rule that aborts incomplete multipart "
                "uploads after some days does so as well.",
                extra={"bucket": bucket, "error": str(err)},
            )
            return False
        return True

    def _uploads(self, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
        markers: dict[str, str] = {}
        while True:
            page = self._call("list_multipart_uploads", bucket, Prefix=prefix, **markers)
            yield from page.get("Uploads", ())
            if not page.get("IsTruncated"):
                return
            markers = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    # --- the manifest: an object for the lines of each commit ---

    @property
    def keeps_manifest(self) -> bool:
        """As GROVE_OUTPUT_AWS_S3_MANIFEST says."""
        return bool(self.config.manifest)

    def manifest_home(self) -> str:
        """The bucket."""
        return str(self.config.bucket)

    def manifest_place(self, name: str, home: str) -> dict[str, Any]:
        """An object of its own."""
        return {"home": home, "bucket": home, "key": name}

    def manifest_size(self, place: dict[str, Any]) -> int | None:
        """None: objects do not grow."""
        return None

    def write_manifest(self, place: dict[str, Any], offset: int, lines: bytes) -> None:
        """Put the object, unless it is there. RequestError where that fails."""
        attempt = 1
        while True:
            condition = {"IfNoneMatch": "*"} if self._conditional else {}
            try:
                self._call("put_object", place["bucket"], place["key"], Body=lines, ContentMD5=_md5(lines), **condition)
            except RequestError as err:
                if err.code == _TAKEN:
                    # Its name is used for these lines only: another attempt has written them.
                    return
                if err.code == "NotImplemented" and condition:
                    self._without_conditions(place["bucket"])
                    continue
                if err.code != _CONFLICT or attempt == ATTEMPTS:
                    raise
                sleep(2.0 ** (attempt - 2))
                attempt += 1
            else:
                return

    def sync_manifest(self, place: dict[str, Any], *, new: bool) -> None:
        """Nothing: an object is durable."""

    # --- for callers that commit nothing ---

    def submit(
        self,
        data: bytes,
        connector: str,
        identity: str,
        operation: str,
        part: int = 0,
        kind: str = ".json.gz",
        descriptor: str = "",
        name: str | None = None,
    ) -> None:
        """Write one object that nobody has committed: visible and whole on return. No name is used twice."""
        submit_staged(
            self,
            data,
            connector=connector,
            identity=identity,
            operation=operation,
            part=part,
            kind=kind,
            descriptor=descriptor,
        )

    # --- requests ---

    def _call(self, operation: str, bucket: str, key: str | None = None, **arguments: Any) -> Any:
        """The answer to a request, which botocore repeats where that may help. RequestError."""
        target = {"Bucket": bucket} if key is None else {"Bucket": bucket, "Key": key}
        try:
            return self._access.call(operation, **target, **arguments)
        except (ClientError, BotoCoreError, ValueError) as err:
            code = _code(err)
            place = "/".join(("s3:/", *target.values()))
            raise RequestError(f"{place}: {err}. {_advice(code)}", code) from err


def access(config: Any) -> aws.Access:
    """How S3 is reached with these settings, a `Handler.Configuration`. ConfigurationException where they clash."""
    return aws.Access(
        service="s3",
        session_name=SESSION_NAME,
        region=config.bucket_region or None,
        role=config.assume_role_arn or None,
        endpoint=config.endpoint_url or None,
        keys=_keys(config),
    )


def _keys(config: Any) -> aws.Keys | None:
    """The credentials in the settings, if there are any."""
    secret, token = (
        value.get_secret_value() if value is not None else ""
        for value in (config.aws_secret_access_key, config.aws_session_token)
    )
    if bool(config.aws_access_key_id) != bool(secret):
        raise ConfigurationException(
            f"{ENV_PREFIX}AWS_ACCESS_KEY_ID and {ENV_PREFIX}AWS_SECRET_ACCESS_KEY belong together: set both, or none."
        )
    if not secret:
        return None
    register_secret(secret)
    register_secret(token)
    return aws.Keys(config.aws_access_key_id, secret, token or None)


def _md5(data: bytes) -> str:
    """The checksum by which S3 sees whether `data` has arrived as it was sent."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _temporary(key: str, upload: str) -> str:
    return f"{key}?uploadId={upload}"


def _ending(key: str) -> str:
    """What follows the last dash of an object's name: its tag and its kind."""
    return key.rpartition("-")[2]


def _code(err: Exception) -> str:
    return str(err.response["Error"]["Code"]) if isinstance(err, ClientError) else type(err).__name__


def _advice(code: str) -> str:
    if code in _NO_CREDENTIALS:
        return f"Check the credentials: {ENV_PREFIX}AWS_ACCESS_KEY_ID and the rest, or those that AWS tools use."
    if code in _DENIED:
        return (
            "Grant s3:PutObject, s3:GetObject, s3:AbortMultipartUpload and s3:ListMultipartUploadParts on the objects, "
            "and s3:ListBucketMultipartUploads on the bucket."
        )
    if code in _NO_BUCKET:
        return f"Check {ENV_PREFIX}BUCKET, {ENV_PREFIX}BUCKET_REGION and {ENV_PREFIX}ENDPOINT_URL."
    return "See whether S3 is in order; the next run tries again."
