"""Reads handwritten digits with the model `digits`.

As a program::

    python clients/digits.py photo.png more.png --url grpc://127.0.0.1:8001

In a program::

    from digits import Digits

    with Digits("http://127.0.0.1:8000") as digits:
        result = digits("photo.png")
        print(result.label, result.probability)
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from modelport.client import Client, InvalidInputError, ModelportError, default_url

MODEL = "digits"

Image: TypeAlias = "bytes | str | Path | npt.NDArray[np.uint8]"


@dataclass(frozen=True)
class DigitsResult:
    """What the model reads in one image.

    Attributes:
        label: the digit, ``"0"`` to ``"9"``.
        probability: how sure the model is of it, 0 to 1.
        scores: float32[10], the probability of each digit; they sum to 1.
    """

    label: str
    probability: float
    scores: npt.NDArray[np.float32]


class Digits:
    """Calls the model `digits` over HTTP or gRPC; safe to share between threads.

    Args:
        server: a URL (``http://``, ``https://``, ``grpc://``, ``grpcs://``), by default that in
            ``MODELPORT_URL`` or http://127.0.0.1:8000; or a client, which stays the caller's to
            close.
    """

    def __init__(self, server: str | Client | None = None) -> None:
        self._owned = not isinstance(server, Client)
        self._client = server if isinstance(server, Client) else Client(server or default_url())

    def __call__(self, image: Image, *, timeout_s: float | None = None) -> DigitsResult:
        """Read the digit in one image, of any size, dark on light or light on dark.

        Args:
            image: the path of a PNG or JPEG file; its content as ``bytes``; or grey pixels,
                uint8[height, width].
            timeout_s: seconds for the call; the client's own by default.

        Raises:
            InvalidInputError: the file cannot be read, is no image, or the array is not
                uint8[height, width].
            ClientError: a leaf for every other way that a call can fail; see `modelport.errors`.
        """
        answer = self._client.infer(MODEL, _to_inputs(image), timeout_s=timeout_s)
        return DigitsResult(
            label=answer["label"][0, 0].decode(),
            probability=float(answer["probability"][0, 0]),
            scores=answer["scores"][0],
        )

    def close(self) -> None:
        """Close the connections, unless the client was given."""
        if self._owned:
            self._client.close()

    def __enter__(self) -> Digits:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _to_inputs(image: Image) -> dict[str, Any]:
    if isinstance(image, np.ndarray):
        if image.ndim != 2:  # a third dimension would be taken for a batch
            raise InvalidInputError(
                f"the pixels of {MODEL!r} must be uint8[height, width], "
                f"got {image.dtype}{list(image.shape)}",
                next_step="convert colour to grey first; call once for each image",
                tensor="pixels",
            )
        return {"pixels": image}
    if isinstance(image, (str, Path)):
        return {"image": _read(Path(image))}
    return {"image": image}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"cannot read the image {str(path)!r}: {error.strerror}", path=str(path)
        ) from error


def main(arguments: list[str] | None = None) -> int:
    """Read the digits in files and print them; gives the exit code of the first failure."""
    parser = argparse.ArgumentParser(description="Read handwritten digits in images.")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="PNG or JPEG file")
    parser.add_argument("--url", default=default_url(), help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one line of JSON per image")
    options = parser.parse_args(arguments)
    code = 0
    try:
        with Digits(options.url) as digits:
            for path in options.images:
                failed = _show(digits, path, as_json=options.json)
                code = code or failed
    except ModelportError as error:
        return _report(error)
    return code


def _show(digits: Digits, path: str, *, as_json: bool) -> int:
    """Print one image's answer, or why there is none: a bad file does not stop the others."""
    try:
        result = digits(path)
    except InvalidInputError as error:
        return _report(error, path)
    if as_json:
        document = {
            "image": path,
            "label": result.label,
            "probability": result.probability,
            "scores": result.scores.tolist(),
        }
        print(json.dumps(document))
    else:
        print(f"{path}  {result.label}  {result.probability:.1%}")
    return 0


def _report(error: ModelportError, path: str = "") -> int:
    print(f"error: {f'{path}: ' if path else ''}{error}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
