"""What a store in S3 can do, and what it says when it can't."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from proven import Shelf
from seaweed import READER, S3, WRITER, opened

from modelport.errors import (
    IntegrityError,
    StoreAccessError,
    StoreError,
    StoreUnreachableError,
)
from modelport.repository.stores.address import parse
from modelport.repository.stores.s3 import S3Store
from modelport.repository.stores.store import Fingerprint, Taken

PART = 5 << 20


def ignore(_: int) -> None:
    pass


def test_a_small_file_is_written_only_over_what_was_expected(s3: S3) -> None:
    store = opened(s3.url("conditions"))
    store.write("net/a", b"one", replaces=None)
    with pytest.raises(Taken):
        store.write("net/a", b"two", replaces=None)
    item = store.find("net/a")
    assert item is not None
    store.write("net/a", b"two", replaces=item)
    with pytest.raises(Taken):
        store.write("net/a", b"three", replaces=item)
    assert store.read("net/a") == b"two"
    store.delete("net/a")
    with pytest.raises(Taken):
        store.write("net/a", b"four", replaces=item)
    assert store.find("net/a") is None


def test_of_many_writers_one_wins(s3: S3) -> None:
    store = opened(s3.url("race"))
    won: list[int] = []

    def write(number: int) -> None:
        try:
            store.write("net/claim", str(number).encode(), replaces=None)
            won.append(number)
        except Taken:
            pass

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read("net/claim") == str(won[0]).encode()


def test_all_pages_of_a_listing_are_read(s3: S3, behind: Any) -> None:
    store = opened(s3.url("pages"))
    for number in range(1005):
        behind.put_object(Bucket=s3.bucket, Key=f"pages/net/{number:04}", Body=b"")
    assert len(list(store.list())) == 1005
    assert len(list(store.list("net/00"))) == 100
    assert store.traffic.as_json()["requests"] == 3


def test_an_object_that_is_not_what_its_writer_stated_is_refused(s3: S3, behind: Any) -> None:
    store = opened(s3.url("stated"))
    behind.put_object(
        Bucket=s3.bucket, Key="stated/net/a", Body=b"other", Metadata={"sha256": "0" * 64}
    )
    with pytest.raises(IntegrityError, match="as its writer stated it"):
        store.read("net/a")


def test_a_large_file_goes_in_parts_and_those_that_are_there_are_not_sent_again(
    s3: S3, behind: Any, tmp_path: Path
) -> None:
    address = parse(s3.url("parts"))
    assert not isinstance(address, Path)
    file = tmp_path / "weights"
    content = os.urandom(2 * PART + 1000)
    file.write_bytes(content)
    known = Fingerprint.of(file)
    # As a killed push leaves it: begun, and the first part sent.
    where = {"Bucket": s3.bucket, "Key": "parts/net/1/model.onnx"}
    begun = behind.create_multipart_upload(**where, Metadata={"sha256": known.sha256})
    behind.upload_part(**where, UploadId=begun["UploadId"], PartNumber=1, Body=content[:PART])
    store = S3Store(address, part_bytes=PART)
    done: list[int] = []
    store.upload(file, "net/1/model.onnx", known, done.append)
    assert store.traffic.as_json()["bytes_sent"] == len(content) - PART
    assert sum(done) == len(content)
    assert b"".join(store.stream("net/1/model.onnx")) == content
    assert b"".join(store.stream("net/1/model.onnx", PART)) == content[PART:]
    assert store.stated_sha256("net/1/model.onnx") == known.sha256
    assert not behind.list_multipart_uploads(Bucket=s3.bucket).get("Uploads")


def test_parts_of_another_file_are_sent_over(s3: S3, behind: Any, tmp_path: Path) -> None:
    address = parse(s3.url("other-parts"))
    assert not isinstance(address, Path)
    file = tmp_path / "weights"
    file.write_bytes(os.urandom(PART + 1000))
    where = {"Bucket": s3.bucket, "Key": "other-parts/a"}
    begun = behind.create_multipart_upload(**where)
    for number in (1, 2, 3):
        behind.upload_part(**where, UploadId=begun["UploadId"], PartNumber=number, Body=bytes(PART))
    store = S3Store(address, part_bytes=PART)
    store.upload(file, "a", Fingerprint.of(file), ignore)
    assert b"".join(store.stream("a")) == file.read_bytes()


def test_a_file_that_changes_while_it_is_sent_is_refused(s3: S3, tmp_path: Path) -> None:
    store = opened(s3.url("changing"))
    file = tmp_path / "weights"
    file.write_bytes(b"before")
    known = Fingerprint.of(file)
    file.write_bytes(b"after!")
    with pytest.raises(StoreError, match="what arrived is not what was sent"):
        store.upload(file, "net/a", known, ignore)
    assert store.find("net/a") is None


def test_the_endpoint_may_stand_in_the_url(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(s3.url("endpoint")).write("net/a", b"here", replaces=None)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    host = s3.endpoint.removeprefix("http://")
    for place in (f"s3://{s3.endpoint}", f"s3://{host}"):
        store = opened(f"{place}/{s3.bucket}/endpoint")
        assert store.read("net/a") == b"here"
        assert store.identity == f"{s3.endpoint}/{s3.bucket}/endpoint/"


# --- what it says -------------------------------------------------------------------


def test_no_such_bucket(s3: S3) -> None:
    with pytest.raises(StoreError, match="no such bucket"):
        list(opened("s3://nobody-has-this/x").list())


def test_nobody_listens(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StoreUnreachableError, match=r"no answer from http://127\.0\.0\.1:1"):
        list(opened(s3.url("x")).list())


@pytest.mark.parametrize("wrong", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_unknown_credentials(s3: S3, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv(wrong, "mistyped")
    with pytest.raises(StoreAccessError, match="does not know these credentials"):
        list(opened(s3.url("x")).list())


def test_no_credentials(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreAccessError, match="no credentials"):
        list(opened(s3.url("x")).list())


def test_a_profile_that_is_not_there(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreAccessError, match="nobody"):
        opened(s3.url("x"))


def test_reading_is_not_writing(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment(READER).items():
        monkeypatch.setenv(name, value)
    store = opened(s3.url("readonly"))
    assert list(store.list()) == []
    with pytest.raises(StoreAccessError, match="may not write"):
        store.write("net/a", b"", replaces=None)


@pytest.mark.parametrize("who", ["writer", "reader", "nobody"])
def test_credentials_are_nowhere_in_what_is_said(s3: S3, tmp_path: Path, who: str) -> None:
    """With the log and tracebacks shown, whether it works or not."""
    shelf = Shelf(tmp_path / "home")
    shelf.publish("net")
    key = {"writer": WRITER, "reader": READER, "nobody": ("nobodykey", "nobody-very-secret")}[who]
    done = subprocess.run(
        [sys.executable, "-m", "modelport.cli", "-v", "push", "--to", s3.url(f"said-{who}"),
         "--repository", str(shelf.path)],
        env={**os.environ, **s3.environment(key)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == (0 if who == "writer" else 29), done.stderr
    assert key[0] not in done.stdout + done.stderr
    assert key[1] not in done.stdout + done.stderr
