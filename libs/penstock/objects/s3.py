"""`Objects` on S3 and everything that speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import boto3.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from penstock.core.errors import PenstockError, RetryLater, StopProcess
from penstock.objects.ports import STREAM_BYTES, ObjectInfo, ObjectMissing
from penstock.runtime.settings import ObjectSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS: Final = 2.0
READ_SECONDS: Final = 15.0
TRIES: Final = 3
PROBE_KEY: Final = "penstock-probe"

_EXISTS: Final = 412
_REFUSED: Final = frozenset((400, 401, 403))
_PASSING: Final = frozenset(("RequestTimeout", "RequestTimeTooSkewed", "BadDigest", "IncompleteBody"))
"""Codes among the refusals that another try may mend."""
_MISSING: Final = frozenset((404, 416))


class S3Objects:
    """A bucket on S3. At most `threads` calls use the network at once; more wait for a connection."""

    def __init__(self, settings: ObjectSettings, threads: int = 16) -> None:
        self._bucket = settings.s3_bucket
        self._client = _client(settings, threads=threads, read_seconds=READ_SECONDS, tries=TRIES)

    def put(self, key: str, data: bytes, *, content_type: str, if_none_match: bool = True) -> bool:
        """See `Objects.put`."""
        only_new: dict[str, Any] = {"IfNoneMatch": "*"} if if_none_match else {}
        try:
            with _translated(f"cannot store {key}", key):
                self._client.put_object(
                    Bucket=self._bucket, Key=key, Body=data, ContentType=content_type, **only_new
                )
        except _Exists:
            return False
        return True

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """See `Objects.get`."""
        part: dict[str, Any] = {} if span is None else {"Range": f"bytes={span[0]}-{span[1] - 1}"}
        with _translated(f"cannot read {key}", key):
            return self._client.get_object(Bucket=self._bucket, Key=key, **part)["Body"].read()

    def get_stream(self, key: str, chunk_bytes: int = STREAM_BYTES) -> Iterator[bytes]:
        """See `Objects.get_stream`."""
        with _translated(f"cannot read {key}", key):
            body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"]

        def pieces() -> Iterator[bytes]:
            with body, _translated(f"cannot read {key}", key):
                yield from body.iter_chunks(chunk_bytes)

        return pieces()

    def head(self, key: str) -> ObjectInfo:
        """See `Objects.head`."""
        with _translated(f"cannot look up {key}", key):
            found = self._client.head_object(Bucket=self._bucket, Key=key)
        return ObjectInfo(key, found["ContentLength"], found["LastModified"].timestamp())

    def delete(self, key: str) -> None:
        """See `Objects.delete`."""
        with _translated(f"cannot delete {key}", key):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `Objects.list`."""
        # Typed as if every field of an entry could be absent.
        pages: Any = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix
        )
        with _translated(f"cannot list {prefix}", prefix):
            for page in pages:
                for found in page.get("Contents", ()):
                    yield ObjectInfo(found["Key"], found["Size"], found["LastModified"].timestamp())


def ensure_bucket(settings: ObjectSettings) -> bool:
    """Create the bucket unless it is there; whether it was created.

    Raises:
        RetryLater: the storage is away.
        StopProcess: it refuses.
    """
    client = _client(settings)
    try:
        with _translated(f"cannot look up bucket {settings.s3_bucket}", settings.s3_bucket):
            client.head_bucket(Bucket=settings.s3_bucket)
    except ObjectMissing:
        # AWS wants no constraint for its oldest region.
        place: dict[str, Any] = {"CreateBucketConfiguration": {"LocationConstraint": settings.s3_region}}
        with _translated(f"cannot create bucket {settings.s3_bucket}", settings.s3_bucket):
            client.create_bucket(
                Bucket=settings.s3_bucket, **(place if settings.s3_region != "us-east-1" else {})
            )
        return True
    return False


def probe(settings: ObjectSettings, timeout: float) -> None:
    """Store a small object, as a test that the storage takes them.

    Raises:
        RetryLater: it did not answer within `timeout` seconds.
        StopProcess: it refuses the credentials or has no such bucket.
    """
    client = _client(settings, read_seconds=timeout, tries=1)
    with _translated(f"object storage at {settings.s3_endpoint or 'AWS'} takes no object", PROBE_KEY):
        client.put_object(Bucket=settings.s3_bucket, Key=PROBE_KEY, Body=b"ok")


def _client(
    settings: ObjectSettings, *, threads: int = 1, read_seconds: float = READ_SECONDS, tries: int = TRIES
) -> S3Client:
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        retries={"mode": "standard", "max_attempts": tries},
        connect_timeout=min(CONNECT_SECONDS, read_seconds),
        read_timeout=read_seconds,
        max_pool_connections=threads,
        # A third of the CPU of a put, and the signature covers the body already.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = boto3.session.Session(
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key,
        region_name=settings.s3_region,
    )
    client: S3Client = session.client("s3", endpoint_url=settings.s3_endpoint or None, config=config)
    return client


class _Exists(Exception):
    """The object that must not exist does."""


@contextmanager
def _translated(doing: str, key: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _meaning(error, doing, key) from error
    except (BotoCoreError, HTTPClientError) as error:
        raise RetryLater(f"{doing}: {error}", component="s3") from error


def _meaning(error: ClientError, doing: str, key: str) -> PenstockError | _Exists:
    """Our error by what the caller does next."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = error.response.get("Error", {}).get("Code", "")
    if status == _EXISTS:
        return _Exists()
    if code == "NoSuchBucket":
        return StopProcess(f"{doing}: the bucket does not exist (PENSTOCK_S3_BUCKET)")
    if status in _MISSING:
        return ObjectMissing(key)
    if status in _REFUSED and code not in _PASSING:
        return StopProcess(f"{doing}: {error}")
    return RetryLater(f"{doing}: {error}", component="s3")
