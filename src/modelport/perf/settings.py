"""The settings of a model that are tuned, read from config.pbtxt and written into it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from modelport.errors import ProfileError
from modelport.perf.batcher import Batching
from modelport.spec.config import ModelConfig, ModelDynamicBatching, ModelInstanceGroup
from modelport.spec.tuned import TunedServing

THREADS = "intra_op_thread_count"


@dataclass(frozen=True)
class Settings:
    """What is tuned.

    Attributes:
        batching: instances, and how requests are gathered.
        threads: of ONNX Runtime within one execution; 0 for a model without such.
    """

    batching: Batching
    threads: int = 1

    @classmethod
    def of(cls, config: ModelConfig) -> Settings:
        """Read the settings of a config.pbtxt.

        Raises:
            ProfileError: it has settings that are not tuned.
        """
        found, group = config.dynamic_batching, _group(config)
        threads = config.parameters.get(THREADS, "")
        if threads and not (threads.isdecimal() and int(threads)):
            raise ProfileError(
                f"{config.name}: {THREADS} is {threads!r}",
                cause="ONNX Runtime then takes a number of its own choice, which is not tuned",
                next_step="set a number from 1 on, or remove the parameter",
                model=config.name,
            )
        batching = Batching(
            instances=max(1, group.count),
            max_batch_size=config.max_batch_size,
            dynamic=found is not None,
            preferred=tuple(found.preferred_batch_size) if found else (),
            delay_s=found.max_queue_delay_microseconds / 1e6 if found else 0.0,
        )
        return cls(batching, int(threads or 0))

    def applied(self, config: ModelConfig) -> ModelConfig:
        """Give a configuration with these settings, and all else as it was.

        Raises:
            ProfileError: it cannot have such settings.
        """
        group, parameters = _group(config), dict(config.parameters)
        if self.batching.instances < 1:
            raise ProfileError(f"{config.name}: {self.batching.instances} instances serve nothing")
        if bool(self.threads) != (THREADS in parameters):
            raise ProfileError(
                f"{config.name}: {self.threads} threads, and"
                f" {'a' if THREADS in parameters else 'no'} parameter {THREADS} in config.pbtxt",
                cause="only ONNX models have threads within an execution, and at least one",
            )
        if self.threads:
            parameters[THREADS] = str(self.threads)
        batching, dynamic = self.batching, None
        if batching.dynamic:
            dynamic = dataclasses.replace(
                config.dynamic_batching or ModelDynamicBatching(),
                preferred_batch_size=batching.preferred,
                max_queue_delay_microseconds=round(batching.delay_s * 1e6),
            )
        return dataclasses.replace(
            config,
            max_batch_size=batching.max_batch_size,
            instance_group=(dataclasses.replace(group, count=batching.instances),),
            parameters=parameters,
            dynamic_batching=dynamic,
        )

    def table(self) -> TunedServing:
        """Give them as they are kept beside a builder file."""
        batching = self.batching
        return TunedServing(
            instances=batching.instances,
            intra_op_threads=self.threads,
            max_batch_size=batching.max_batch_size,
            dynamic_batching=batching.dynamic,
            preferred_batch_size=batching.preferred,
            max_queue_delay_microseconds=round(batching.delay_s * 1e6),
        )

    def __str__(self) -> str:
        b = self.batching
        words = [f"{b.instances} instance{'s' * (b.instances > 1)}"]
        if self.threads > 1:
            words.append(f"{self.threads} threads")
        words.append(f"max batch {b.max_batch_size}")
        if not b.dynamic:
            words.append("no dynamic batching")
        if b.preferred:
            words.append("preferred " + " ".join(map(str, b.preferred)))
        if b.delay_s:
            words.append(f"delay {b.delay_s * 1e6:g} µs")
        return ", ".join(words)


def _group(config: ModelConfig) -> ModelInstanceGroup:
    groups = config.instance_group
    if len(groups) > 1:
        raise ProfileError(
            f"{config.name}: config.pbtxt has {len(groups)} instance groups",
            cause="instances in several groups differ, and are not tuned",
            next_step="keep one group, or measure yourself: modelport perf compare",
            model=config.name,
        )
    return groups[0] if groups else ModelInstanceGroup()
