"""A version that breaks those who call the model is refused, and overruled on the record."""

from __future__ import annotations

import pytest
from workplace import Workplace

from modelport.errors import BreakingChangeError, PromotionError
from modelport.repository import interface
from modelport.repository.layout import Repository
from modelport.rollout import history, promotion

BUILDER = """\
from modelport import spec


def shout(inputs):
    return {OUTPUT: inputs["x"] * 2}


models = (
    spec.PythonModel(
        name="shout",
        inputs=(spec.Tensor("x", "FP32", (2,), minimum=0, MAXIMUM),),
        outputs=(spec.Tensor(OUTPUT, "FP32", (2,)),),
        max_batch_size=8,
        reference=shout,
    ),
)
"""
CODE = """\
from modelport.serving.python_model import answer_each


class TritonPythonModel:
    def execute(self, requests):
        return answer_each(requests, lambda inputs: {OUTPUT: inputs["x"] * 2})
"""


def build(workplace: Workplace, *, output: str, maximum: int) -> None:
    changes = {"OUTPUT": repr(output), "MAXIMUM": f"maximum={maximum}"}
    builder, code = BUILDER, CODE
    for name, value in changes.items():
        builder, code = builder.replace(name, value), code.replace(name, value)
    workplace.builder("shout", builder)
    workplace.code("shout", code)
    workplace.build()


def test_a_breaking_version(workplace: Workplace) -> None:
    place = Repository(workplace.repository)
    build(workplace, output="y", maximum=1)
    checked = promotion.check(place, "shout", 1, lambda _: None)
    promotion.promote(place, checked, "shout", 1)
    # Another meaning is another version, though the model answers as before.
    build(workplace, output="y", maximum=5)
    assert interface.read(place, "shout", 2).inputs[0].maximum == 5
    assert promotion.check(place, "shout", 2, lambda _: None).breaking == []
    build(workplace, output="z", maximum=5)

    what = ["shout: output 'y' is gone; 'z' is alike: renamed?"]
    checked = promotion.check(place, "shout", 3, lambda _: None)
    assert checked.breaking == what
    with pytest.raises(PromotionError, match="--allow-breaking --reason") as refusal:
        promotion.promote(place, checked, "shout", 3)
    assert refusal.value.objects["objections"] == what
    assert place.model("shout").served_versions() == [1]
    asked = workplace.run(["schema", "check", "shout@1", "shout@3", "--repository", "repository"])
    assert asked.returncode == BreakingChangeError.exit_code

    refused = workplace.run(
        ["promote", "shout", "3", "--repository", "repository", "--allow-breaking"]
    )
    assert "--allow-breaking needs --reason" in refused.stderr
    promotion.promote(place, checked, "shout", 3, reason="all moved", allow_breaking=True)
    assert place.model("shout").served_versions() == [3]
    entry = history.read(place.path)[-1]
    assert (entry.overruled, entry.reason) == (what, "all moved")
