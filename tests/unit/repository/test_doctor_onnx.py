"""config.pbtxt against the ONNX file, and versions against their manifests."""

from __future__ import annotations

import json
from pathlib import Path

import onnx_files
import pytest
from onnx import TensorProto, helper

from modelport.repository import digests, doctor
from modelport.repository.doctor import Finding, Machine

MACHINE = Machine(cores=4, gpus=0)
CONFIG = """backend: "onnxruntime"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "repository" / "net"
    onnx_files.save(folder / "1" / "model.onnx")
    (folder / "config.pbtxt").write_text(CONFIG)
    return folder


def check(model: Path, config: str = CONFIG) -> list[Finding]:
    (model / "config.pbtxt").write_text(config)
    return doctor.check(model.parent, machine=MACHINE)


def only(findings: list[Finding]) -> tuple[str, str, str, str]:
    assert len(findings) == 1, findings
    return findings[0].rule, findings[0].field, findings[0].expected, findings[0].got


def test_a_healthy_model(model: Path) -> None:
    assert check(model) == []
    assert check(model, 'backend: "onnxruntime"') == []  # auto-completion does the rest


def test_a_truncated_file(model: Path) -> None:
    path = model / "1" / "model.onnx"
    path.write_bytes(path.read_bytes()[:50])
    rule, _, expected, got = only(check(model))
    assert (rule, expected, got) == (
        "MP301",
        "a whole ONNX file",
        "50 bytes that are no ONNX protobuf",
    )
    assert check(model)[0].path == path


def test_a_sequence_at_the_edge(model: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    onnx_files.save(model / "1" / "model.onnx", outputs=[onnx_files.tensor("y"), sequence])
    assert only(check(model)) == (
        "MP302",
        "s",
        "a plain tensor of a type that Triton knows",
        "sequence",
    )


def test_a_tensor_that_the_file_lacks(model: Path) -> None:
    findings = check(model, CONFIG.replace('"y"', '"Y"'))
    assert only(findings) == (
        "MP303",
        "output[0].name",
        "one of 'y', the outputs of 1/model.onnx",
        "'Y'",
    )
    assert findings[0].fix == "did you mean 'y'?"
    assert findings[0].line == 4


CARRIED = "# modelport: ignore MP219 it runs on servers that carry state over\n"


def test_a_state_tensor_that_the_file_lacks(model: Path) -> None:
    state = (
        'sequence_batching { state { input_name: "x" output_name: "h" '
        "data_type: TYPE_FP32 dims: [ 4 ] } }\n"
    )
    assert only(check(model, CONFIG + CARRIED + state))[:2] == (
        "MP303",
        "sequence_batching.state[0].output_name",
    )


def test_a_state_of_another_type_than_the_file(model: Path) -> None:
    edges = [onnx_files.tensor("x"), onnx_files.tensor("h")]
    outputs = [onnx_files.tensor("y"), onnx_files.tensor("h_out")]
    onnx_files.save(model / "1" / "model.onnx", edges, outputs)
    state = (
        'sequence_batching { state { input_name: "h" output_name: "h_out" '
        "data_type: TYPE_FP16 dims: [ 4 ] } }\n"
    )
    found = check(model, CONFIG + CARRIED + state)
    # Both ends of the state differ from the one type that is declared.
    assert [(f.rule, f.field, f.got) for f in found] == [
        ("MP312", "sequence_batching.state[0].data_type", "TYPE_FP16")
    ] * 2
    assert check(model, CONFIG + CARRIED + state.replace("FP16", "FP32")) == []


def test_the_cache_of_a_network_that_draws(model: Path) -> None:
    cached = CONFIG + "response_cache { enable: true }\n"
    assert check(model, cached) == []
    noise = helper.make_node("RandomNormalLike", ["x"], ["y"])
    onnx_files.save(model / "1" / "model.onnx", nodes=[noise])
    assert only(check(model, cached)) == (
        "MP220",
        "response_cache.enable",
        "false, or a required seed among the inputs",
        "true, and net draws in 1/model.onnx (RandomNormalLike)",
    )


def test_weights_outside_the_folder(model: Path) -> None:
    weights = onnx_files.external("w", "../weights.bin", offset=0, length=32)
    onnx_files.save(model / "1" / "model.onnx", initializers=[weights])
    (model / "weights.bin").write_bytes(bytes(32))
    assert only(check(model))[0::3] == ("MP309", "../weights.bin")


PLAN = CONFIG.replace("onnxruntime", "tensorrt")


def plan(path: Path, *version: int) -> None:
    """Write the head of a plan, which is all that the doctor reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"ftrt" + bytes(20) + bytes(version) + bytes(100))


def test_a_plan_of_another_tensorrt(model: Path) -> None:
    (model / "config.pbtxt").write_text(PLAN)
    plan(model / "1" / "model.plan", 10, 5, 0, 18)

    def found(tensorrt: str | None) -> list[Finding]:
        return doctor.check(model.parent, machine=Machine(cores=4, gpus=1, tensorrt=tensorrt))

    assert found("10.5.1") == found(None) == []
    assert only(found("10.16.0")) == (
        "MP310",
        "",
        "a plan of TensorRT 10.16.0",
        "one of TensorRT 10.5.0",
    )
    # One server loads all plans of a repository.
    plan(model.parent / "newer" / "1" / "model.plan", 10, 16, 0, 1)
    (model.parent / "newer" / "config.pbtxt").write_text(PLAN)
    assert [(f.rule, f.model) for f in found(None)] == [("MP310", "net")]


def test_a_plan_without_what_runs_without_a_gpu(model: Path) -> None:
    plan(model / "1" / "model.plan", 10, 5, 0, 18)
    assert check(model, PLAN) == []
    (model / "1" / "model.onnx").unlink()
    assert only(check(model, PLAN))[:3:2] == (
        "MP311",
        "model.onnx beside it, on a machine without a GPU",
    )
    (model / "1" / "model.plan").write_bytes(b"no plan")
    assert {f.rule for f in check(model, PLAN)} == {"MP311"}


def test_a_required_input_that_is_not_declared(model: Path) -> None:
    inputs = [onnx_files.tensor("x"), onnx_files.tensor("mask", TensorProto.BOOL, ["n", 4, "t"])]
    onnx_files.save(model / "1" / "model.onnx", inputs)
    findings = check(model)
    assert only(findings) == (
        "MP304",
        "input",
        "'mask', which 1/model.onnx requires",
        "only 'x'",
    )
    assert '{ name: "mask" data_type: TYPE_BOOL dims: [4, -1] }' in findings[0].fix


def test_another_type(model: Path) -> None:
    assert only(
        check(model, CONFIG.replace("FP32 dims: [ 4 ] } ]\noutput", "FP16 dims: [ 4 ] } ]\noutput"))
    ) == (
        "MP305",
        "input[0].data_type",
        "TYPE_FP32, as 1/model.onnx has 'x'",
        "TYPE_FP16",
    )


@pytest.mark.parametrize(
    ("max_batch_size", "dims", "shape", "fits"),
    [
        (8, "[ 4 ]", ["n", 4], True),
        (8, "[ 4 ]", [None, None], True),
        (8, "[ -1 ]", ["n", "t"], True),
        (8, "[ 4 ]", None, True),
        (8, "[ -1 ]", ["n", 4], False),  # a client could send what the network refuses
        (8, "[ 5 ]", ["n", 4], False),
        (8, "[ 4, 1 ]", ["n", 4], False),
        (8, "[ 4 ]", [1, 4], False),  # the batch is fixed in the file
        (8, "[ 1 ] reshape { shape: [ ] }", ["n"], True),
        (0, "[ 2, 4 ]", ["n", 4], True),
        (0, "[ -1, 4 ]", ["n", 4], True),
        (0, "[ 4 ]", ["n", 4], False),
        (0, "[ 1 ]", [], True),
        (0, "[ 2 ]", [], False),
        (0, "[ 8 ] reshape { shape: [ 2, 4 ] }", [2, 4], True),
    ],
)
def test_shapes(
    model: Path, max_batch_size: int, dims: str, shape: list[object] | None, fits: bool
) -> None:
    onnx_files.save(
        model / "1" / "model.onnx",
        [onnx_files.tensor("x", shape=shape)],
        [onnx_files.tensor("y", shape=["n", 4])],
    )
    output = "[ 4 ]" if max_batch_size else "[ -1, 4 ]"
    config = (
        f'backend: "onnxruntime"\nmax_batch_size: {max_batch_size}\n'
        f'input {{ name: "x" data_type: TYPE_FP32 dims: {dims} }}\n'
        f'output {{ name: "y" data_type: TYPE_FP32 dims: {output} }}\n'
    )
    findings = check(model, config)
    assert [(f.rule, f.field) for f in findings] == ([] if fits else [("MP306", "input[0].dims")])


def test_a_shape_is_told_with_its_batch_dimension(model: Path) -> None:
    findings = check(
        model,
        CONFIG.replace(
            '"x" data_type: TYPE_FP32 dims: [ 4 ]', '"x" data_type: TYPE_FP32 dims: [ 5 ]'
        ),
    )
    assert only(findings) == (
        "MP306",
        "input[0].dims",
        "[batch, 4] of 'x' in 1/model.onnx",
        "[-1, 5] with the batch dimension",
    )
    assert findings[0].fix == "set dims: [4]"


def test_outside_weights_missing_and_cut_short(model: Path) -> None:
    weights = onnx_files.external("w", "model.onnx.data", offset=64, length=32)
    onnx_files.save(model / "1" / "model.onnx", initializers=[weights])
    findings = check(model)
    assert only(findings)[0::3] == ("MP307", "no such file")
    assert findings[0].path == model / "1" / "model.onnx.data"
    (model / "1" / "model.onnx.data").write_bytes(bytes(95))
    assert only(check(model)) == ("MP308", "", "at least 96 bytes", "95 bytes")
    (model / "1" / "model.onnx.data").write_bytes(bytes(96))
    assert check(model) == []


def test_only_versions_that_serve_are_held_against_the_config(model: Path) -> None:
    onnx_files.save(model / "2" / "model.onnx", [onnx_files.tensor("other")])
    assert {f.rule for f in check(model)} == {"MP303", "MP304"}
    assert check(model, CONFIG + "version_policy { specific { versions: [ 1 ] } }") == []


def test_a_folder_in_place_of_the_file(model: Path) -> None:
    (model / "1" / "model.onnx").unlink()
    onnx_files.save(model / "1" / "model.onnx" / "model.onnx", [onnx_files.tensor("z")])
    assert {f.rule for f in check(model)} == {"MP303", "MP304"}


@pytest.fixture
def manifest(model: Path) -> Path:
    path = model / "1" / "model.onnx"
    parity = {
        "reference": "torch",
        "requests": 1,
        "batch_sizes": [1],
        "worst_absolute": 0.0,
        "worst_relative": 0.0,
    }
    content = {
        "model": "net",
        "version": 1,
        "kind": "onnx",
        "public": True,
        "created": "2026-01-01T00:00:00Z",
        "builder": {"path": "net.py", "sha256": "0" * 64},
        "build_key": "0" * 64,
        "dependencies": {},
        "proof": {
            "tolerance": {"absolute": 0.0, "relative": 0.0},
            "through_server": parity,
            "server": "2.51.0",
        },
        "files": [
            {
                "path": "model.onnx",
                "size_bytes": path.stat().st_size,
                "sha256": digests.of_file(path),
            }
        ],
    }
    (model / "1" / "manifest.json").write_text(json.dumps(content))
    return model / "1" / "manifest.json"


def test_a_file_that_is_what_was_proven(model: Path, manifest: Path) -> None:
    assert check(model) == []


def test_a_file_that_was_changed_later(model: Path, manifest: Path) -> None:
    path = model / "1" / "model.onnx"
    size = path.stat().st_size
    data = path.read_bytes().replace(b"batch", b"BATCH")
    path.write_bytes(data)
    findings = check(model)
    rule, _, expected, got = only(findings)
    assert (rule, findings[0].path) == ("MP602", path)
    assert expected.startswith(f"{size} bytes, sha256 ")
    assert got.startswith("sha256 differs")
    assert doctor.check(model.parent, machine=MACHINE, digest_files=False) == []


def test_a_file_of_the_manifest_that_is_gone(model: Path, manifest: Path) -> None:
    content = json.loads(manifest.read_text())
    content["files"].append({"path": "vocab.txt", "size_bytes": 3, "sha256": "0" * 64})
    manifest.write_text(json.dumps(content))
    assert only(check(model))[0::3] == ("MP602", "missing")


def test_a_manifest_copied_from_another_version(model: Path, manifest: Path) -> None:
    (model / "1").rename(model / "2")
    assert only(check(model)) == ("MP603", "version", "net version 2", "net version 1")


def test_sizes_alone_do_not_show_what_a_newer_file_holds(model: Path, manifest: Path) -> None:
    data = bytearray((model / "1" / "model.onnx").read_bytes())
    data[-1] ^= 1
    (model / "1" / "model.onnx").write_bytes(data)
    content = json.loads(manifest.read_text())
    assert doctor.check(model.parent, machine=MACHINE, digest_files=False) == []
    content["files"] = []
    manifest.write_text(json.dumps(content))
    assert only(doctor.check(model.parent, machine=MACHINE))[0] == "MP605"
