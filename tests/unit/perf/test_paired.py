"""What the sides of a comparison are: versions, and settings written into config.pbtxt."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import deeds
import pytest
from click.testing import CliRunner

from modelport import cli
from modelport.errors import ProfileError
from modelport.perf import paired, questions
from modelport.perf.paired import Side
from modelport.repository import pbtxt
from modelport.repository.layout import Repository


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    place = tmp_path_factory.mktemp("models")
    deeds.make(place)
    return Repository(place)


def settings(repository: Repository, *texts: str) -> Mapping[str, Mapping[str, str]]:
    return paired.side(repository, "whole", 2, texts).settings


def test_a_side_names_what_it_runs(repository: Repository) -> None:
    one = paired.side(repository, "whole", 2, ["part_a.instances=2"])
    assert one.versions == {"whole": 2, "part_a": 2, "part_b": 2}
    assert one.name == "whole@2 part_a.instances=2"
    assert paired.side(repository, "whole", None).versions["whole"] == 1


def test_settings_reach_the_configuration(repository: Repository) -> None:
    texts = ["instances=3", "max_batch_size=16", "max_queue_delay_us=250"]
    one = paired.side(repository, "part_a", 2, [*texts, "preferred_batch_size=4,8"])
    was = repository.folder("part_a").config_of(2)
    now = paired.changed(one, "part_a", was)
    assert now.instance_group[0].count == 3
    assert now.max_batch_size == 16
    assert now.dynamic_batching is not None
    assert now.dynamic_batching.preferred_batch_size == (4, 8)
    assert now.dynamic_batching.max_queue_delay_microseconds == 250
    assert (now.input, now.output, now.backend) == (was.input, was.output, was.backend)
    assert pbtxt.parse(pbtxt.render(now)) == now


def test_threads_reach_the_configuration_of_a_model_that_has_them(repository: Repository) -> None:
    was = repository.folder("part_a").config_of(2)
    onnx = dataclasses.replace(was, parameters={**was.parameters, "intra_op_thread_count": "1"})
    one = Side("two", "part_a", {"part_a": 2}, {"part_a": {"intra_op_threads": "2"}})
    assert paired.changed(one, "part_a", onnx).parameters["intra_op_thread_count"] == "2"


def test_a_version_is_asked_as_it_was_proven_whatever_serves(repository: Repository) -> None:
    """What serves now takes batches; version 3 was proven without, so it is asked without."""
    folder = repository.folder("part_a")
    own = folder.version_dir(3) / "config.pbtxt"
    batched = own.read_text()
    assert questions.of(folder, 3).batched
    own.write_text(re.sub("max_batch_size: [0-9]+", "max_batch_size: 0", batched))
    try:
        assert not questions.of(folder, 3).batched
        assert questions.of(folder, 2).batched
    finally:
        own.write_text(batched)


def test_without_settings_nothing_changes(repository: Repository) -> None:
    was = repository.folder("part_a").config_of(2)
    assert paired.changed(paired.side(repository, "part_a", 2), "part_a", was) is was


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("part_a.speed=2", "a key of instances"),
        ("part_a.instances=two", "KEY=NUMBER"),
        ("part_a.instances", "KEY=NUMBER"),
        ("part_c.instances=2", "a part of whole, part_a, part_b"),
        ("part_a.preferred_batch_size=4,", "KEY=NUMBER"),
        ("instances=2", "name the part: part_a, part_b"),
        ("part_a.max_batch_size=0", "no batch dimension"),
        ("part_a.instances=0", "serve nothing"),
        ("part_a.intra_op_threads=2", "only ONNX models have threads"),
    ],
)
def test_what_is_no_setting_is_refused(repository: Repository, text: str, complaint: str) -> None:
    with pytest.raises(ProfileError) as refused:
        settings(repository, text)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    ("operands", "complaint"),
    [
        (["part_a", "part_b"], "are two models"),
        (["part_a@1", "part_a@1"], "are the same"),
        (["part_a"], "are the same"),
        (["part_a@x", "part_a@1"], "is not NAME@VERSION"),
    ],
)
def test_what_cannot_be_compared_is_told_at_once(
    repository: Repository, operands: list[str], complaint: str
) -> None:
    said = CliRunner().invoke(
        cli.command, ["perf", "compare", *operands, "--repository", str(repository.path)]
    )
    assert said.exit_code == 2
    assert complaint in said.stderr
