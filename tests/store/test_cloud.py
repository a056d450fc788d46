"""What S3 refuses, in words that say what to do."""

import socket

import pytest

from orpheus_clone.errors import StoreError
from orpheus_clone.store.cloud import CloudObjects


def test_a_bucket_that_is_not_there_is_named(s3: str) -> None:
    with pytest.raises(StoreError, match=r"s3://nobody/x: .*is the bucket there"):
        CloudObjects.at("s3://nobody/x").swap("voices/a", b"", None)


def test_a_bucket_that_is_not_there_is_not_taken_for_an_empty_one(s3: str) -> None:
    with pytest.raises(StoreError, match=r"s3://nobody/x: .*is the bucket there"):
        CloudObjects.at("s3://nobody/x").read("voices/a", 10)


def test_a_cloud_that_takes_the_question_and_never_answers_is_named(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(StoreError, match=r"s3://voices/x: .*is the bucket there"):
            CloudObjects.at("s3://voices/x", answer_s=0.1).read("voices/a", 10)


def test_a_cloud_that_does_not_answer_is_named(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(StoreError, match=r"s3://voices/x: .*is the bucket there"):
        CloudObjects.at("s3://voices/x").read("voices/a", 10)


def test_an_object_is_swapped_only_for_the_one_that_was_read(s3: str) -> None:
    objects = CloudObjects.at(s3)
    assert objects.read("voices/a", 10) is None
    assert objects.swap("voices/a", b"1", None)
    assert not objects.swap("voices/a", b"2", None)
    read = objects.read("voices/a", 10)
    assert read is not None
    assert objects.swap("voices/a", b"3", read.version)
    assert not objects.swap("voices/a", b"4", read.version)
    again = objects.read("voices/a", 10)
    assert again is not None
    assert again.data == b"3"


def test_names_are_those_of_one_folder(s3: str) -> None:
    objects = CloudObjects.at(s3)
    objects.add("bundles/a@1", {"x": b"1", "y": b"2"})
    objects.add("bundles/b@1", {"x": b"1"})
    assert objects.names("bundles") == ["a@1", "b@1"]
    assert objects.names("bundles/a@1") == ["x", "y"]
    objects.remove("bundles/a@1")
    assert objects.names("bundles") == ["b@1"]
