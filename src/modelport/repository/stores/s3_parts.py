"""Sending a large file to S3 in parts, side by side, going on where an earlier try was ended."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from modelport.repository.stores.store import Fingerprint

_SIDE_BY_SIDE = 4
_MOST_PARTS = 10_000


class Parts:
    """The multipart upload of one file.

    Parts that lie at the server already, from a push that was ended, are compared by MD5 and
    not sent again. Only completing it makes the file appear.
    """

    def __init__(self, client: Any, bucket: str, key: str, part_bytes: int) -> None:
        self._client = client
        self._where = {"Bucket": bucket, "Key": key}
        self._part_bytes = part_bytes

    def upload(self, file: Path, known: Fingerprint, on_sent: Callable[[int], None]) -> int:
        """Send what is missing and complete the file; gives how many bytes were sent."""
        step = max(self._part_bytes, math.ceil(known.size_bytes / _MOST_PARTS))
        upload, there = self._begun(known)
        count = math.ceil(known.size_bytes / step)
        sent = 0

        def send(index: int) -> tuple[dict[str, Any], int]:
            content = _slice(file, index * step, step)
            number, digest = index + 1, hashlib.md5(content, usedforsecurity=False)
            tag, cost = f'"{digest.hexdigest()}"', 0
            if there.get(number) != tag:
                answer = self._client.upload_part(
                    **self._where,
                    UploadId=upload,
                    PartNumber=number,
                    Body=content,
                    ContentMD5=base64.b64encode(digest.digest()).decode(),
                )
                tag, cost = answer["ETag"], len(content)
            on_sent(len(content))
            return {"PartNumber": number, "ETag": tag}, cost

        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            futures = [pool.submit(send, index) for index in range(count)]
            try:
                results = [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        sent = sum(cost for _, cost in results)
        # Names every part by its digest: S3 refuses if another push has put others there.
        self._client.complete_multipart_upload(
            **self._where, UploadId=upload, MultipartUpload={"Parts": [p for p, _ in results]}
        )
        return sent

    def _begun(self, known: Fingerprint) -> tuple[str, dict[int, str]]:
        """Find the upload that an earlier try began, with the parts that it left; or begin one."""
        found = self._client.list_multipart_uploads(
            Bucket=self._where["Bucket"], Prefix=self._where["Key"]
        )
        for upload in found.get("Uploads", ()):
            if upload["Key"] == self._where["Key"]:
                pages = self._client.get_paginator("list_parts").paginate(
                    **self._where, UploadId=upload["UploadId"]
                )
                parts = [part for page in pages for part in page.get("Parts", ())]
                return upload["UploadId"], {p["PartNumber"]: p["ETag"] for p in parts}
        begun = self._client.create_multipart_upload(
            **self._where, Metadata={"sha256": known.sha256}
        )
        return begun["UploadId"], {}


def _slice(file: Path, offset: int, size_bytes: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(offset)
        return opened.read(size_bytes)
