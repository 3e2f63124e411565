"""Triton's reasons, as tritonserver 2.51.0 gave them, and what is made of them."""

from __future__ import annotations

import pytest

from modelport.runtime.reasons import explain

IMPORTS = """load failed for model 'm': version 1 is at UNAVAILABLE state: Internal: \
ModuleNotFoundError: No module named 'nothere'

At:
  /models/m/1/model.py(1): <module>
  <frozen importlib._bootstrap>(241): _call_with_frames_removed
;
"""


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        (
            "load failed for model 'm': version 1 is at UNAVAILABLE state: Invalid argument: "
            "unable to find backend library for backend 'pytorch', try specifying runtime on "
            "the model configuration.;",
            "does not bring the backend",
        ),
        ("Internal: Stub process 'm_0_0' is not healthy.;", "ended the process"),
        (
            "load failed for model 'm': at least one version must be available under the version "
            "policy of model 'm'",
            "no version folder",
        ),
        (IMPORTS, "own environment"),
        (
            "unexpected directory name 'm' for model 'other', directory name must equal model name",
            "differs from the name of its folder",
        ),
        ("ensemble m contains models that are not available or ambiguous: x", "does not fit"),
    ],
)
def test_known_reasons_get_a_cause_and_a_next_step(reason: str, cause: str) -> None:
    failure = explain("m", "1", reason)
    assert failure.cause is not None
    assert cause in failure.cause
    assert failure.next_step


def test_what_triton_wraps_around_a_reason_is_dropped() -> None:
    assert explain("m", "1", IMPORTS).reason == (
        "Internal: ModuleNotFoundError: No module named 'nothere'\n"
        "At:\n  /models/m/1/model.py(1): <module>"
    )


def test_an_unknown_reason_is_kept_without_guessing() -> None:
    failure = explain("m", "1", "load failed for model 'm': the moon is full")
    assert (failure.reason, failure.cause, failure.next_step) == ("the moon is full", None, None)


def test_an_error_that_explains_itself_is_believed() -> None:
    words = "Internal: IntegrityError: 5 bytes\nlikely cause: cut short\nnext: build it\n\nAt:\n  x"
    failure = explain("m", "1", words)
    assert failure.reason == "Internal: IntegrityError: 5 bytes"
    assert (failure.cause, failure.next_step) == ("cut short", "build it")
