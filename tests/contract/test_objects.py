"""One suite for every `Objects`: the in-memory one and a real server."""

from __future__ import annotations

import uuid

import pytest

from penstock.core.errors import RetryLater, StopProcess
from penstock.objects.memory import MemoryObjects
from penstock.objects.ports import ObjectInfo, ObjectMissing, Objects
from penstock.objects.s3 import S3Objects, ensure_bucket, probe
from penstock.runtime.settings import ObjectSettings

TEXT = "text/plain"


@pytest.fixture(params=["memory", "s3"], scope="module")
def objects(request: pytest.FixtureRequest) -> Objects:
    if request.param == "memory":
        return MemoryObjects()
    settings: ObjectSettings = request.getfixturevalue("object_settings")
    ensure_bucket(settings)
    return S3Objects(settings, threads=2)


@pytest.fixture
def prefix() -> str:
    return f"test/{uuid.uuid4()}/"


def test_what_is_put_is_got(objects: Objects, prefix: str) -> None:
    data = bytes(range(256)) * 10
    assert objects.put(prefix + "a", data, content_type=TEXT)
    assert objects.get(prefix + "a") == data
    info = objects.head(prefix + "a")
    assert isinstance(info, ObjectInfo)
    assert (info.key, info.size) == (prefix + "a", len(data))


def test_an_object_that_is_there_stays(objects: Objects, prefix: str) -> None:
    assert objects.put(prefix + "a", b"first", content_type=TEXT)
    assert not objects.put(prefix + "a", b"second", content_type=TEXT)
    assert objects.get(prefix + "a") == b"first"
    assert objects.put(prefix + "a", b"third", content_type=TEXT, if_none_match=False)
    assert objects.get(prefix + "a") == b"third"


def test_a_span_of_bytes(objects: Objects, prefix: str) -> None:
    objects.put(prefix + "a", b"0123456789", content_type=TEXT)
    assert objects.get(prefix + "a", (2, 5)) == b"234"
    assert objects.get(prefix + "a", (8, 100)) == b"89"
    with pytest.raises(ObjectMissing):
        objects.get(prefix + "a", (10, 12))


def test_a_stream_is_the_object_in_pieces(objects: Objects, prefix: str) -> None:
    data = b"x" * 10_000
    objects.put(prefix + "a", data, content_type=TEXT)
    pieces = list(objects.get_stream(prefix + "a", 4096))
    assert b"".join(pieces) == data
    assert len(pieces) > 1


def test_an_empty_object(objects: Objects, prefix: str) -> None:
    assert objects.put(prefix + "a", b"", content_type=TEXT)
    assert objects.get(prefix + "a") == b""
    assert list(objects.get_stream(prefix + "a")) == []


def test_what_is_missing_is_named(objects: Objects, prefix: str) -> None:
    for read in (objects.get, objects.get_stream, objects.head):
        with pytest.raises(ObjectMissing, match=prefix) as raised:
            read(prefix + "none")
        assert raised.value.key == prefix + "none"


def test_delete_is_idempotent(objects: Objects, prefix: str) -> None:
    objects.put(prefix + "a", b"x", content_type=TEXT)
    objects.delete(prefix + "a")
    objects.delete(prefix + "a")
    with pytest.raises(ObjectMissing):
        objects.get(prefix + "a")
    assert objects.put(prefix + "a", b"y", content_type=TEXT)


def test_list_is_sorted_and_by_prefix(objects: Objects, prefix: str) -> None:
    for name in ("b", "a/2", "a/1", "a10"):
        objects.put(prefix + name, name.encode(), content_type=TEXT)
    assert [found.key.removeprefix(prefix) for found in objects.list(prefix + "a/")] == ["a/1", "a/2"]
    assert [found.size for found in objects.list(prefix)] == [3, 3, 3, 1]
    assert list(objects.list(prefix + "none/")) == []


def test_storage_that_is_away_means_retry_later(prefix: str) -> None:
    memory = MemoryObjects()
    memory.away = True
    with pytest.raises(RetryLater):
        memory.put(prefix + "a", b"", content_type=TEXT)
    nobody = ObjectSettings(s3_endpoint="http://127.0.0.1:9", s3_access_key="a", s3_secret_key="b")
    with pytest.raises(RetryLater) as raised:
        probe(nobody, 1.0)
    assert raised.value.component == "s3"
    with pytest.raises(RetryLater):
        list(S3Objects(nobody).list(prefix))


def test_s3_refusals_stop_the_process(object_settings: ObjectSettings, prefix: str) -> None:
    stranger = ObjectSettings(
        s3_endpoint=object_settings.s3_endpoint,
        s3_access_key=object_settings.s3_access_key,
        s3_secret_key="wrong",
        s3_bucket=object_settings.s3_bucket,
    )
    with pytest.raises(StopProcess):
        S3Objects(stranger).put(prefix + "a", b"x", content_type=TEXT)
    homeless = ObjectSettings(
        s3_endpoint=object_settings.s3_endpoint,
        s3_access_key=object_settings.s3_access_key,
        s3_secret_key=object_settings.s3_secret_key,
        s3_bucket="no-such-bucket",
    )
    with pytest.raises(StopProcess, match="PENSTOCK_S3_BUCKET"):
        S3Objects(homeless).put(prefix + "a", b"x", content_type=TEXT)


def test_s3_bucket_is_made_once(object_settings: ObjectSettings) -> None:
    ensure_bucket(object_settings)
    assert ensure_bucket(object_settings) is False
    probe(object_settings, 5.0)
