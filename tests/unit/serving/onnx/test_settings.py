from __future__ import annotations

import onnxruntime
import pytest

from modelport.errors import ConfigError
from modelport.serving.onnx import session, settings
from modelport.serving.onnx.settings import Settings, default_thread_count


def config(**parameters):
    return {"parameters": {key: {"string_value": value} for key, value in parameters.items()}}


def test_configured_values_are_taken_as_they_are():
    entries = {"session.use_device_allocator_for_initializers": "1", "session.x": "y"}
    got = settings.read(
        {
            **config(
                intra_op_thread_count="3",
                inter_op_thread_count="2",
                execution_mode="1",
                enable_mem_arena="0",
                enable_mem_pattern="On",
                unknown="ignored",
                **entries,
                **{"memory.enable_memory_arena_shrinkage": "cpu:0"},
            ),
            "optimization": {"graph": {"level": -1}},
            "model_operations": {"op_library_filename": ["ops.so"]},
        },
        {},
    )
    assert got == Settings(
        intra_op_threads=3,
        inter_op_threads=2,
        parallel=True,
        graph_level=-1,
        memory_arena=False,
        memory_pattern=True,
        session_entries=entries,
        run_entries={"memory.enable_memory_arena_shrinkage": "cpu:0"},
        op_libraries=("ops.so",),
    )


def test_explicit_zero_threads_leave_the_choice_to_onnxruntime():
    got = settings.read(config(intra_op_thread_count="0"), {})
    assert (got.intra_op_threads, got.session_entries) == (0, {})


def test_without_a_thread_count_instances_share_the_cpus_and_do_not_spin(monkeypatch):
    monkeypatch.setattr(settings, "usable_cpus", lambda: 8)
    got = settings.read({"instance_group": [{"count": 2}, {"count": 1}]}, {})
    assert got.intra_op_threads == 2
    assert got.session_entries == {"session.intra_op.allow_spinning": "0"}


def test_configured_spinning_stays():
    spinning = {"session.intra_op.allow_spinning": "1"}
    assert settings.read(config(**spinning), {}).session_entries == spinning


@pytest.mark.parametrize(
    ("instances", "cpus", "threads"), [(1, 2, 2), (2, 2, 1), (4, 2, 1), (3, 8, 2), (0, 4, 4)]
)
def test_default_thread_count(instances, cpus, threads):
    assert default_thread_count(instances, cpus) == threads


def test_global_threadpool_of_the_server_overrides_the_model():
    server = {"enable-global-threadpool": "1", "intra_op_thread_count": "5"}
    assert settings.read(config(intra_op_thread_count="1"), server).intra_op_threads == 5
    assert settings.read({}, {"enable-global-threadpool": "1"}).intra_op_threads == 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"intra_op_thread_count": "x"}, "failed to convert 'x' to integral number"),
        ({"enable_mem_arena": "2"}, "failed to convert '2' to boolean"),
        ({"execution_mode": "2"}, "expected 0 (sequential) or 1 (parallel), got 2"),
    ],
)
def test_value_that_does_not_parse(parameters, message):
    with pytest.raises(ConfigError) as caught:
        settings.read(config(**parameters), {})
    assert message in str(caught.value)


def accelerators(kind, name):
    return {"optimization": {"execution_accelerators": {kind: [{"name": name}]}}}


def test_unknown_cpu_accelerator_is_refused():
    with pytest.raises(ConfigError, match="unknown Execution Accelerator 'warp'"):
        settings.read(accelerators("cpu_execution_accelerator", "warp"), {})


@pytest.mark.parametrize(
    ("kind", "name"),
    [("cpu_execution_accelerator", "openvino"), ("gpu_execution_accelerator", "tensorrt")],
)
def test_accelerator_that_only_changes_speed_is_warned_of(kind, name, caplog):
    settings.read(accelerators(kind, name), {})
    assert name in caplog.text


@pytest.mark.parametrize(
    ("given", "expected"), [({}, 4), ({"default-max-batch-size": "16"}, 16),
                            ({"default-max-batch-size": "-1"}, 0)]
)  # fmt: skip
def test_default_max_batch_size(given, expected):
    assert settings.default_max_batch_size(given) == expected


@pytest.mark.parametrize(
    ("level", "expected"),
    [(-1, "ORT_ENABLE_BASIC"), (0, "ORT_ENABLE_ALL"), (1, "ORT_ENABLE_EXTENDED"),
     (2, "ORT_DISABLE_ALL")],
)  # fmt: skip
def test_settings_reach_onnxruntime(level, expected):
    chosen = Settings(
        intra_op_threads=2,
        inter_op_threads=3,
        parallel=True,
        graph_level=level,
        memory_arena=False,
        memory_pattern=False,
        session_entries={"session.intra_op.allow_spinning": "0"},
    )
    options = session._options(onnxruntime, chosen)
    assert options.graph_optimization_level.name == expected
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 3)
    assert not options.enable_cpu_mem_arena
    assert not options.enable_mem_pattern
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
