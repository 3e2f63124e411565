"""What the URL of a store stands for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.errors import StoreError
from modelport.repository.stores.address import S3Address, parse


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://models", S3Address("models", "")),
        ("s3://models/", S3Address("models", "")),
        ("s3://models/team/a", S3Address("models", "team/a")),
        ("s3://models/team/a/", S3Address("models", "team/a")),
        ("s3://h.example:9000/models/a", S3Address("models", "a", "http://h.example:9000")),
        ("s3://http://10.0.0.1:9000/models", S3Address("models", "", "http://10.0.0.1:9000")),
        ("s3://https://h:443/models/a/b", S3Address("models", "a/b", "https://h:443")),
        ("/mnt/models", Path("/mnt/models")),
        ("file:///mnt/models", Path("/mnt/models")),
        ("models", Path("models")),
    ],
)
def test_both_spellings_of_s3_and_folders(url: str, expected: object) -> None:
    assert parse(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "s3://",
        "s3:///prefix",
        "s3://Models/a",
        "s3://m/a",
        "s3://models/a/../b",
        "s3://models//a",
        "s3://https://models/a",
        "gs://models/a",
        "http://host/models",
    ],
)
def test_what_is_no_store_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="not a"):
        parse(url)


@pytest.mark.parametrize("scheme", ["s3://", "s3://https://", "ftp://"])
def test_credentials_in_a_url_are_refused_and_not_repeated(scheme: str) -> None:
    with pytest.raises(StoreError) as caught:
        parse(f"{scheme}AKIAKEY:verysecret@models/a")
    assert "verysecret" not in str(caught.value)
    assert "AKIAKEY" not in str(caught.value)


_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


@given(
    bucket=st.text(_LETTERS, min_size=3, max_size=20),
    prefix=st.lists(
        st.text(_LETTERS + "_.-", min_size=1).filter(lambda p: p.strip(".")), max_size=3
    ),
    endpoint=st.sampled_from([None, "http://h:1", "https://h.example:9000"]),
)
def test_an_address_is_read_back_as_it_is_written(
    bucket: str, prefix: list[str], endpoint: str | None
) -> None:
    address = S3Address(bucket, "/".join(prefix), endpoint)
    assert parse(str(address)) == address
