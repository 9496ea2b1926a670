"""S3 as a release uses it (objects with conditions, and lists of them), on moto's own buckets, without the wire.

Every rule is moto's, and S3's: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html.
"""

from __future__ import annotations

import io
import zlib
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any

from botocore.response import StreamingBody
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.utils import get_pagination_model, get_service_model
from moto.s3.models import FakeBucket, FakeKey, s3_backends
from moto.utilities.utils import get_partition
from werkzeug.http import http_date

from .direct_answers import UTC
from .direct_operations import Operation
from .direct_requests import converter
from .faults import Failure

if TYPE_CHECKING:
    from .cloud import Cloud

MISSING_KEY = "The specified key does not exist."
MISSING_BUCKET = "The specified bucket does not exist"
NOT_HELD = "At least one of the pre-conditions you specified did not hold"
PER_PAGE = 1000


class Objects:
    """The bucket of one request."""

    def __init__(self, bucket: FakeBucket, region: str) -> None:
        self.bucket = bucket
        self.backend = s3_backends[DEFAULT_ACCOUNT_ID][get_partition(region)]

    def find(self, key: str) -> FakeKey | None:
        """Return an object, or None."""
        found = self.bucket.keys.get(key)
        return found if isinstance(found, FakeKey) else None

    def put(self, arguments: dict[str, Any]) -> dict[str, Any] | Failure:
        """Write an object, if it is what the condition says."""
        key, body, wanted = arguments["Key"], arguments.get("Body", b""), arguments.get("IfMatch")
        if wanted:
            failure = _why_not(self.find(key), wanted)
            if failure:
                return failure
        if arguments.get("IfNoneMatch") == "*" and self.find(key) is not None:
            return Failure("PreconditionFailed", NOT_HELD, 412)
        body = body.encode() if isinstance(body, str) else bytes(body)
        checksum = b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        new = self.backend.put_object(self.bucket.name, key, body, storage="STANDARD", checksum_value=checksum)
        new.set_metadata({"Content-Type": arguments["ContentType"]} if "ContentType" in arguments else {})
        new.set_acl(self.bucket.acl)
        new.checksum_algorithm = "CRC32"
        self.backend.put_object_tagging(new, {})
        return {"ETag": new.etag, "ChecksumCRC32": checksum}

    def get(self, arguments: dict[str, Any]) -> dict[str, Any] | Failure:
        """Read an object."""
        found = self.find(arguments["Key"])
        if found is None:
            return Failure("NoSuchKey", MISSING_KEY, 404)
        body = found.value
        answer = {**_head(found), "Body": StreamingBody(io.BytesIO(body), len(body))}
        return {**answer, "ChecksumCRC32": found.checksum_value} if found.checksum_algorithm == "CRC32" else answer

    def head(self, arguments: dict[str, Any]) -> dict[str, Any] | Failure:
        """Read about an object."""
        found = self.find(arguments["Key"])
        return Failure("404", "Not Found", 404) if found is None else _head(found)

    def delete(self, arguments: dict[str, Any]) -> dict[str, Any] | Failure:
        """Delete an object, if it is what the condition says; one that is not there stays away."""
        wanted = arguments.get("IfMatch")
        failure = _why_not(self.find(arguments["Key"]), wanted) if wanted else None
        if failure:
            return failure
        self.backend.delete_object(self.bucket.name, arguments["Key"])
        return {}

    def list(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """List keys, page by page."""
        prefix, token = arguments.get("Prefix", ""), arguments.get("ContinuationToken")
        found, is_truncated, following = self.backend.list_objects_v2(
            bucket=self.bucket,
            prefix=prefix,
            delimiter=None,
            continuation_token=token,
            start_after=None,
            max_keys=arguments.get("MaxKeys", PER_PAGE),
        )
        contents = [_listed(key) for key in found if isinstance(key, FakeKey)]
        answer: dict[str, Any] = {
            "IsTruncated": is_truncated,
            "Name": self.bucket.name,
            "Prefix": prefix,
            "MaxKeys": arguments.get("MaxKeys", PER_PAGE),
            "EncodingType": "url",
            "KeyCount": len(contents),
        }
        if contents:
            answer["Contents"] = contents
        if token:
            answer["ContinuationToken"] = token
        if following:
            answer["NextContinuationToken"] = following
        return answer


Answer = Callable[[Objects, dict[str, Any]], dict[str, Any] | Failure]
# What is answered here, with the arguments that are understood; with any other argument boto3 itself is asked.
COVERED: dict[str, tuple[Answer, frozenset[str]]] = {
    "PutObject": (Objects.put, frozenset({"Bucket", "Key", "Body", "IfMatch", "IfNoneMatch", "ContentType"})),
    "GetObject": (Objects.get, frozenset({"Bucket", "Key"})),
    "HeadObject": (Objects.head, frozenset({"Bucket", "Key"})),
    "DeleteObject": (Objects.delete, frozenset({"Bucket", "Key", "IfMatch"})),
    "ListObjectsV2": (Objects.list, frozenset({"Bucket", "Prefix", "MaxKeys", "ContinuationToken"})),
}


class S3Operation(Operation):
    """One of S3's operations."""

    def __init__(self, name: str) -> None:
        from botocore import xform_name

        self.service = "s3"
        self.model = get_service_model("s3").operation_model(name)
        self.name = name
        self.method = xform_name(name)
        self.pages = get_pagination_model("s3").get(name)
        self.answer, self.understood = COVERED[name]
        self._check = converter(self.model)

    def prepare(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Check arguments as boto3 does."""
        self._check({key: value for key, value in arguments.items() if key != "Body"})
        return arguments

    def why_not(self, arguments: dict[str, Any]) -> str | None:
        """Tell which argument is left to boto3; a bucket with versions is as well."""
        for name in arguments:
            if name not in self.understood:
                return f"{name} is not understood"
        if not isinstance(arguments.get("Body", b""), bytes | str):
            return "Body is a stream"
        bucket = _bucket(arguments.get("Bucket", ""), "us-east-1")
        plain = bucket is None or (type(bucket) is FakeBucket and not bucket.is_versioned and not bucket.encryption)
        return None if plain and (bucket is None or not bucket.policy) else "the bucket is not a plain one"

    def complete(self, arguments: dict[str, Any], dice: Random) -> dict[str, Any]:
        """Add nothing."""
        return arguments

    def ask(self, parameters: dict[str, Any], region: str) -> dict[str, Any] | Failure:
        """Answer as S3 does."""
        bucket = _bucket(parameters["Bucket"], region)
        if bucket is None:
            return Failure("NoSuchBucket", MISSING_BUCKET, 404)
        return self.answer(Objects(bucket, region), parameters)

    def details(self, failure: Failure, arguments: dict[str, Any]) -> dict[str, str]:
        """Return what is missing, or which condition did not hold."""
        if failure.code == "NoSuchBucket":
            return {"BucketName": arguments["Bucket"]}
        if failure.code == "NoSuchKey":
            return {"Key": arguments["Key"]} if self.name == "GetObject" else {}
        if failure.code == "PreconditionFailed":
            return {"Condition": "If-Match" if "IfMatch" in arguments else "If-None-Match"}
        return {}

    def finish(self, answer: dict[str, Any], retries: int, cloud: Cloud) -> dict[str, Any]:
        """Return an answer with the metadata that boto3 adds; S3 tells its time, which is the cloud's."""
        finished = super().finish(answer, retries, cloud)
        metadata = finished["ResponseMetadata"]
        metadata["HTTPStatusCode"] = 204 if self.name == "DeleteObject" else 200
        metadata["HTTPHeaders"] = {"date": http_date(cloud.utcnow())}
        return finished


@cache
def s3_operations() -> dict[str, Operation]:
    """Return S3's operations by boto3's method names."""
    return {operation.method: operation for operation in map(S3Operation, COVERED)}


def _bucket(name: str, region: str) -> FakeBucket | None:
    return s3_backends[DEFAULT_ACCOUNT_ID][get_partition(region)].buckets.get(name)


def _why_not(found: FakeKey | None, wanted: str) -> Failure | None:
    if found is None:
        return Failure("NoSuchKey", MISSING_KEY, 404)
    return (
        None if wanted.replace('"', "") == found.etag.replace('"', "") else Failure("PreconditionFailed", NOT_HELD, 412)
    )


def _head(key: FakeKey) -> dict[str, Any]:
    metadata = {name[11:]: value for name, value in key.metadata.items() if name.lower().startswith("x-amz-meta-")}
    return {
        "AcceptRanges": "bytes",
        "LastModified": key.last_modified.replace(microsecond=0, tzinfo=UTC),
        "ContentLength": key.size,
        "ETag": key.etag,
        "ContentType": key.metadata["Content-Type"],
        "Metadata": metadata,
    }


def _listed(key: FakeKey) -> dict[str, Any]:
    listed = {
        "Key": key.name,
        "LastModified": key.last_modified.replace(microsecond=0, tzinfo=UTC),
        "ETag": key.etag,
        "Size": key.size,
        "StorageClass": key.storage_class,
    }
    return {**listed, "ChecksumAlgorithm": [key.checksum_algorithm]} if key.checksum_algorithm else listed
