"""config.pbtxt to typed configuration and back."""

from __future__ import annotations

import os
from pathlib import Path

import config_messages
import pytest
from google.protobuf import text_format
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from modelport.errors import ConfigError
from modelport.repository import pbtxt
from modelport.spec.config import ModelConfig, ModelDynamicBatching, ModelInput

HERE = Path(__file__).parent
GOLDEN = HERE.parents[1] / "golden" / "config"
WILD = sorted(GOLDEN.glob("*.pbtxt"))


CONFIGS = config_messages.configs()
PROPERTY = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)


@PROPERTY
@given(CONFIGS)
def test_message_to_dataclass_to_message_is_the_identity(message: Message) -> None:
    assert pbtxt.to_message(pbtxt.from_message(message)) == message


@PROPERTY
@given(CONFIGS)
def test_render_then_parse_is_the_identity(message: Message) -> None:
    config = pbtxt.from_message(message)
    text = pbtxt.render(config)
    assert pbtxt.parse(text) == config
    assert pbtxt.render(pbtxt.parse(text)) == text


@PROPERTY
@given(CONFIGS, st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_every_way_of_printing_a_message_reads_the_same(
    message: Message, short: bool, pointy: bool, one_line: bool, colons: bool
) -> None:
    text = text_format.MessageToString(
        message,
        as_utf8=short,
        as_one_line=one_line,
        use_short_repeated_primitives=short,
        pointy_brackets=pointy,
        force_colon=colons,
    )
    assert pbtxt.parse(text) == pbtxt.from_message(message)


@pytest.mark.parametrize("path", WILD, ids=lambda path: path.stem)
def test_wild_shapes_read_as_protobuf_reads_them(path: Path) -> None:
    expected = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    config = pbtxt.read(path)
    assert pbtxt.to_message(config) == expected
    assert pbtxt.parse(pbtxt.render(config)) == config


@pytest.mark.parametrize("path", WILD, ids=lambda path: path.stem)
def test_rendering_is_the_golden_one(path: Path) -> None:
    """Run with MODELPORT_UPDATE_GOLDEN=1 to accept a change of the rendering."""
    golden = GOLDEN / "rendered" / path.name
    text = pbtxt.render(pbtxt.read(path))
    if os.environ.get("MODELPORT_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


def test_windows_line_ends_and_a_missing_last_one() -> None:
    assert pbtxt.parse('name: "a"\r\n# note\r\nmax_batch_size: 3').max_batch_size == 3


def test_decimals_survive_float32() -> None:
    text = "sequence_batching { direct { minimum_slot_utilization: 0.1 } }"
    config = pbtxt.parse(text)
    assert config.sequence_batching.direct.minimum_slot_utilization == 0.1
    assert "minimum_slot_utilization: 0.1\n" in pbtxt.render(config)


def test_an_empty_message_is_not_an_absent_one() -> None:
    config = ModelConfig(dynamic_batching=ModelDynamicBatching())
    assert pbtxt.render(config) == "dynamic_batching {\n}\n"
    assert pbtxt.parse(pbtxt.render(config)) == config
    assert pbtxt.parse(pbtxt.render(ModelConfig())).dynamic_batching is None


def test_fields_in_proto_order_maps_sorted_short_lists() -> None:
    config = ModelConfig(
        name="m",
        backend="b",
        parameters={"z": "1", "a": "2"},
        max_batch_size=4,
        input=(ModelInput(name="x", data_type="TYPE_FP32", dims=(3, -1)),),
    )
    assert pbtxt.render(config) == (
        'name: "m"\nbackend: "b"\nmax_batch_size: 4\n'
        'input {\n  name: "x"\n  data_type: TYPE_FP32\n  dims: [3, -1]\n}\n'
        'parameters {\n  key: "a"\n  value {\n    string_value: "2"\n  }\n}\n'
        'parameters {\n  key: "z"\n  value {\n    string_value: "1"\n  }\n}\n'
    )


BROKEN = [
    ("inptu: 1", 1, 1, "inptu", "did you mean input?"),
    ('name: "a"\ninputs { }', 2, 1, "inputs", "did you mean input?"),
    ('name: "a"\ninput {\n  data_type: FP32\n}', 3, 14, "input.data_type", "mean TYPE_FP32"),
    ("instance_group { kind: CPU }", 1, 24, "instance_group.kind", "mean KIND_CPU"),
    ('max_batch_size: "8"', 1, 17, "max_batch_size", "parse integer"),
    ("max_batch_size: 99999999999", 1, 17, "max_batch_size", "out of range"),
    ('name: "a"\nname: "b"', 2, 7, "name[1]", "multiple"),
    ("dynamic_batching { }\nsequence_batching { }", 2, 1, "sequence_batching", "oneof"),
    ('input [ { name: "a" }', 1, 22, "input.name", "closing brace"),
    ('input {\n name: "a"\n dims: [1, 2,]\n}', 3, 14, "input.dims[1]", "comma"),
    ('// note\nname: "a"', 1, 1, "/", "comments start with #"),
    ("max_batch_size: ${BATCH}", 1, 17, "max_batch_size", "placeholder"),
    ("max_batch_size: MAX_BATCH", 1, 17, "max_batch_size", "placeholder"),
    ("max_batch_size: -1", 1, 1, "max_batch_size", "got -1"),
    ('input {\n name: "a"\n dims: [1,\n  0]\n}', 4, 3, "input[0].dims[1]", "got 0"),
    ('input {\n name: "a"\n data_type: 99\n}', 3, 2, "input[0].data_type", "got 99"),
    ("input {\n dims: 1\n}", 1, 1, "input[0].name", "required"),
    ('output { name: "y" }\noutput { name: "y" }', 1, 1, "", "'y' is declared twice"),
    ("ensemble_scheduling { }", 1, 1, "ensemble_scheduling.step", "required"),
]


@pytest.mark.parametrize(("text", "line", "column", "field", "words"), BROKEN)
def test_an_error_names_file_line_column_and_field(
    tmp_path: Path, text: str, line: int, column: int, field: str, words: str
) -> None:
    path = tmp_path / "config.pbtxt"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        pbtxt.read(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{path}:{line}:{column}: ")
    where = (caught.value.objects["line"], caught.value.objects["column"])
    assert where == (line, column)
    assert caught.value.objects["field"] == field


def test_a_missing_file_and_a_binary_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        pbtxt.read(tmp_path / "config.pbtxt")
    (tmp_path / "config.pbtxt").write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match="byte 6 is not UTF-8"):
        pbtxt.read(tmp_path / "config.pbtxt")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from(list("{}[]<>:,;\"'\n#ab1 ")), max_size=40))
def test_any_text_is_read_or_refused(text: str | list[str]) -> None:
    refusal = _refusal("".join(text))
    assert refusal is None or refusal.objects["line"] >= 1


def _refusal(text: str) -> ConfigError | None:
    try:
        pbtxt.parse(text)
    except ConfigError as error:
        return error
    return None
