"""What the URL of a store stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import StoreError

SCHEME = "s3://"

# Bucket names as S3 allows them; the endpoint as Triton spells it, which needs a port.
_BUCKET = r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]"
_S3 = re.compile(
    rf"s3://(?:(?P<scheme>https?://)?(?P<host>[0-9A-Za-z.\-]+:\d+)/)?(?P<bucket>{_BUCKET})"
    r"(?:/(?P<prefix>.*))?"
)
_OTHER_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")


@dataclass(frozen=True)
class S3Address:
    """A bucket, the prefix inside it, and the endpoint where the URL names one."""

    bucket: str
    prefix: str
    endpoint: str | None = None

    def __str__(self) -> str:
        place = f"{self.endpoint}/" if self.endpoint else ""
        return f"{SCHEME}{place}{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


def is_s3(url: str) -> bool:
    """Say whether a URL means S3."""
    return url.startswith(SCHEME)


def parse(url: str) -> S3Address | Path:
    """Read ``s3://bucket/prefix``, ``s3://[http[s]://]host:port/bucket/prefix`` or a folder.

    The second form is Triton's; without a scheme it means http there, and so here.
    Source: NVIDIA's model repository guide, section on S3.

    Raises:
        StoreError: it is none of these.
    """
    if is_s3(url):
        return _s3(url)
    path = url.removeprefix("file://")
    if not path or _OTHER_SCHEME.match(path):
        raise StoreError(
            f"{harmless(url) or '(empty)'}: not a store",
            cause="a store is a folder or s3://bucket/prefix",
            next_step="modelport push --help shows how a store is named",
        )
    return Path(path)


def _s3(url: str) -> S3Address:
    found = _S3.fullmatch(url.rstrip("/"))
    prefix = (found["prefix"] or "") if found else ""
    if found is None or any(part in {"", ".", ".."} for part in prefix.split("/") if prefix):
        raise StoreError(
            f"{harmless(url)}: not an S3 URL",
            cause="credentials do not belong into a URL" if "@" in url else None,
            next_step="write s3://bucket/prefix or s3://http://host:port/bucket/prefix; the"
            " credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        )
    host = found["host"]
    endpoint = f"{found['scheme'] or 'http://'}{host}" if host else None
    return S3Address(found["bucket"], prefix, endpoint)


def harmless(url: str) -> str:
    """Take out what may be credentials."""
    return re.sub(r"(://)[^/]*@", r"\1…@", url)
