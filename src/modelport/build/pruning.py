"""Networks with fewer channels: which go, the proof that nothing else went, and further training.

Channels are removed along the dependencies of the layers, as torch-pruning finds them (Fang et
al. 2023, arXiv:2301.12900): with a channel of a convolution go those of its normalization and
the weights that read it. Of each layer, those with the smallest weights go (Li et al. 2016,
arXiv:1608.08710).
"""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from modelport.build import training
from modelport.build.dataset import Dataset
from modelport.errors import BuilderError, MissingExtraError
from modelport.spec.model import TorchModel
from modelport.spec.parts import Training
from modelport.spec.precision import Pruned

# Convolutions run on blocks of so many channels: one more costs as much as eight. With 44 of 64
# channels, a network was slower on a CPU than with all of them.
_BLOCK = 8
_ITEMS = 2
# Without `learning_rate`: the weights that stay are near where they belong.
_SLOWER = 4
_CUTTABLE = (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.PReLU)
_LISTED = 4
_KEPT = "named in `keep`"

Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Cut:
    """The channels of a layer that go, and with them all that belongs to them elsewhere."""

    layer: str
    channels: tuple[int, ...]


@dataclass(frozen=True)
class Pruning:
    """A network with fewer channels, trained further.

    Attributes:
        network: it, whole, in evaluation mode.
        cuts: what :func:`cut` needs to make its shape again, in order, with the ``example``.
        example: two items of the training split.
        facts: for people and for JSON: ``channels`` of each layer, ``parameters`` and ``macs``
            (multiply-accumulates for an item) as pairs of before and after, why each layer in
            ``left`` was left alone, and how the training went.
    """

    network: nn.Module
    cuts: tuple[Cut, ...]
    example: Tensors
    facts: Mapping[str, Any]


def prune(
    network: nn.Module,
    model: TorchModel,
    dataset: Dataset,
    variant: Pruned,
    *,
    builder: Path,
    on_epoch: Callable[[training.Epoch], None] = lambda _: None,
) -> Pruning:
    """Remove channels of a trained network, and train what stays.

    The same network, data and settings give the same weights, bit by bit, on the same machine.

    Args:
        network: trained, and whole: not the ``part`` that is served. It stays as it is.
        model: declares the training, which is taken up again with the variant's settings.
        dataset: the test split is not looked at.
        variant: how much, and which modules are kept.
        builder: the builder file, for messages.
        on_epoch: called after each epoch.

    Raises:
        BuilderError: it cannot be pruned, with the reason; ``keep`` names no module; or the
            loss was never finite.
        MissingExtraError: torch-pruning is not installed.
    """
    settings = _settings(model, variant, builder)
    names = settings.inputs or tuple(tensor.name for tensor in model.inputs)
    torch.set_num_threads(settings.threads)
    network = copy.deepcopy(network).eval()
    example = example_of(dataset, names)
    kept = _kept(network, model, variant, builder)
    cuts, left = _chosen(network, example, variant.share, kept, _at(builder, model))
    pruned = cut(network, cuts, example)
    if reason := _difference(_silenced(network, cuts, example), pruned, example):
        raise BuilderError(
            f"{_at(builder, model)}: layers that can each be pruned cannot be together: {reason}",
            next_step="name some of them in `keep`: " + ", ".join(c.layer for c in cuts),
            model=model.name,
            field="variants",
        )
    history = training.fit(pruned, dataset, settings, names, on_epoch=on_epoch)
    if history.best == 0:
        raise BuilderError(
            f"{_at(builder, model)}: after pruning, the validation loss was never a finite number"
            f" in {history.epochs} epochs",
            next_step="lower `learning_rate` of spec.Pruned, or its `share`",
            model=model.name,
            field="variants",
        )
    facts = _facts(network, pruned, example) | {"left": left} | history.as_dict()
    return Pruning(pruned.eval(), cuts, example, facts)


def example_of(dataset: Dataset, names: Sequence[str]) -> Tensors:
    """Take the first items of the training split, as the network takes them in training."""
    return tuple(torch.from_numpy(dataset.train.inputs[name][:_ITEMS]) for name in names)


def cut(network: nn.Module, cuts: Sequence[Cut], example: Tensors) -> nn.Module:
    """Make a copy of a network that lacks some channels; its other weights are the same."""
    pruned = copy.deepcopy(network).eval()
    learns = {name: weight.requires_grad for name, weight in pruned.named_parameters()}
    for weight in pruned.parameters():
        weight.requires_grad_(weight.is_floating_point())  # dependencies are read off gradients
    with _quiet():
        graph = _dependencies(pruned, example)
        for one in cuts:
            _group(graph, pruned.get_submodule(one.layer), one.channels).prune()
    for name, weight in pruned.named_parameters():
        weight.requires_grad_(learns[name])
        weight.grad = None
    return pruned


# --- what may go ----------------------------------------------------------------


def _settings(model: TorchModel, variant: Pruned, builder: Path) -> Training:
    if model.training is None:
        raise BuilderError(
            f"{_at(builder, model)}: a network that comes trained cannot be pruned: the declaration"
            " has no `training`",
            cause="without training afterwards, what is left of the channels answers wrongly",
            next_step="declare `training` and `data` to train on, or leave 'pruned' out",
            model=model.name,
            field="variants",
        )
    rate = variant.learning_rate or model.training.learning_rate / _SLOWER
    return dataclasses.replace(model.training, epochs=variant.epochs, learning_rate=rate)


def _kept(network: nn.Module, model: TorchModel, variant: Pruned, builder: Path) -> set[str]:
    """Find the modules that ``keep`` names, and all in them."""
    names = [name for name, _ in network.named_modules() if name]
    kept: set[str] = set()
    for pattern in variant.keep:
        found = {name for name in names if fnmatch(name, pattern)}
        if not found:
            layers = [n for n, m in network.named_modules() if isinstance(m, _CUTTABLE)]
            raise BuilderError(
                f"{_at(builder, model)}: `keep` of spec.Pruned names {pattern!r}, and the network"
                " has no such module",
                next_step=f"name some of its layers: {', '.join(layers)}",
                model=model.name,
                field="variants",
            )
        kept |= {name for name in names if any(f"{name}.".startswith(f"{f}.") for f in found)}
    return kept


def _chosen(
    network: nn.Module, example: Tensors, share: float, kept: set[str], at: str
) -> tuple[tuple[Cut, ...], dict[str, str]]:
    """Choose what goes, and say of each other layer why it stays."""
    cuts, left = [], dict.fromkeys(_layers(network) & kept, _KEPT)
    try:
        proposed = list(_proposed(network, example, share, kept))
    except MissingExtraError:
        raise
    except Exception as error:  # torch-pruning follows foreign code, and may fail in any way
        raise BuilderError(
            f"{at}: the dependencies of its layers cannot be followed: {_first_line(error)}",
            cause="torch-pruning does not know how the network is made",
            next_step="leave 'pruned' out; quantization needs no such dependencies",
            field="variants",
        ) from error
    for one, reason in proposed:
        if reason := reason or _trial(network, one, example):
            left[one.layer] = reason
        else:
            cuts.append(one)
    if not cuts:
        kinds = {type(m).__name__ for m in network.modules() if _is_unknown(m)}
        unknown = f"its {', '.join(sorted(kinds))} cannot be pruned" if kinds else ""
        reasons = [f"{layer}: {reason}" for layer, reason in sorted(left.items())[:_LISTED]]
        told = "; ".join([unknown, *reasons] if unknown else reasons)
        raise BuilderError(
            f"{at}: no layer can be pruned: {told}",
            cause="convolutions and linear layers whose channels only further ones of them read"
            " can be, outputs and what the shape of an input fixes cannot",
            next_step="leave 'pruned' out, or choose another share",
            field="variants",
        )
    return tuple(cuts), dict(sorted(left.items()))


def _proposed(
    network: nn.Module, example: Tensors, share: float, kept: set[str]
) -> Iterator[tuple[Cut, str]]:
    """Give each group of layers whose channels depend on each other, or why it must stay."""
    import_torch_pruning()
    from torch_pruning.pruner.importance import GroupMagnitudeImportance

    analysed = copy.deepcopy(network).eval()
    for weight in analysed.parameters():
        weight.requires_grad_(weight.is_floating_point())
    names = {module: name for name, module in analysed.named_modules()}
    with _quiet():
        graph = _dependencies(analysed, example)
        for group in list(graph.get_all_groups()):
            layer, channels = names[group[0].dep.target.module], len(group[0].idxs)
            count = channels - max(_BLOCK, _BLOCK * round(channels * (1 - share) / _BLOCK))
            reason = f"{channels} channels are few: they go in blocks of {_BLOCK}"
            if count > 0:
                reason = _shares_kept(graph, group, names, kept) or _uncuttable(group, names)
            lowest: Sequence[int] = ()
            if not reason:
                weights = GroupMagnitudeImportance(p=2)(group)
                lowest = sorted(torch.argsort(weights, stable=True)[:count].tolist())
            yield Cut(layer, tuple(lowest)), reason


def _shares_kept(graph: Any, group: Any, names: Mapping[nn.Module, str], kept: set[str]) -> str:
    writing = [d.target.module for d, _ in group if graph.is_out_channel_pruning_fn(d.handler)]
    found = [names[module] for module in writing if names.get(module) in kept]
    if not found:
        return ""
    root = names[group[0].dep.target.module]
    return _KEPT if root in kept else f"{found[0]}, {_KEPT}, has the same channels"


def _uncuttable(group: Any, names: Mapping[nn.Module, str]) -> str:
    """Say which member of a group keeps all of it as it is, if one does."""
    for dependency, _ in group:
        module = dependency.target.module
        if isinstance(module, nn.Parameter):
            return "a parameter outside of any layer depends on its channels"
        if not isinstance(module, _CUTTABLE) and any(True for _ in module.parameters()):
            return f"{names.get(module, '')} ({type(module).__name__}) depends on its channels"
        groups = getattr(module, "groups", 1)
        if groups > 1 and groups != module.in_channels:
            return f"{names[module]} convolves in {groups} groups, which depend on its channels"
    return ""


def _trial(network: nn.Module, one: Cut, example: Tensors) -> str:
    """Say why a cut is not what it should be: the same network with the channels at zero."""
    try:
        pruned = cut(network, [one], example)
        return _difference(_silenced(network, [one], example), pruned, example)
    except Exception as error:  # noqa: BLE001 - its own code runs on shapes that it may not take
        return f"the network does not run without some of its channels: {_first_line(error)}"


def _silenced(network: nn.Module, cuts: Sequence[Cut], example: Tensors) -> nn.Module:
    """Make a copy of a network in which nothing of some channels is written or read."""
    silent = copy.deepcopy(network).eval()
    for weight in silent.parameters():
        weight.requires_grad_(weight.is_floating_point())
    with _quiet(), torch.no_grad():
        with torch.enable_grad():
            graph = _dependencies(silent, example)
        for one in cuts:
            for dependency, at in _group(graph, silent.get_submodule(one.layer), one.channels):
                module = dependency.target.module
                if isinstance(module, _CUTTABLE):
                    writes = graph.is_out_channel_pruning_fn(dependency.handler)
                    _silence(module, at, writes=writes)
    return silent


def _silence(module: Any, channels: Sequence[int], *, writes: bool) -> None:
    if module.weight is None:  # a normalization without weights
        return
    turned = isinstance(module, nn.modules.conv._ConvTransposeNd)
    if module.weight.dim() == 1 or writes != turned:
        module.weight[list(channels)] = 0
    else:
        module.weight[:, list(channels)] = 0
    if writes and getattr(module, "bias", None) is not None:
        module.bias[list(channels)] = 0


def _difference(expected: nn.Module, got: nn.Module, example: Tensors) -> str:
    """Say how the answers of two networks differ, if they do."""
    with torch.inference_mode():
        answers = [_outputs(network(*example)) for network in (expected, got)]
    for one, other in zip(*answers, strict=True):
        if one.shape != other.shape:
            return f"its channels are those of an output {list(one.shape[1:])}"
        # Sums in another order; a channel taken for another differs by far more.
        scale = float(one.abs().max()) if one.is_floating_point() and one.numel() else 0.0
        if not torch.allclose(one.double(), other.double(), rtol=1e-3, atol=1e-3 * scale):
            return "the layers that read its channels expect them in another order"
    return ""


# --- torch-pruning --------------------------------------------------------------


def import_torch_pruning() -> Any:
    """Import torch-pruning; raises :class:`MissingExtraError` where it is not installed."""
    try:
        import torch_pruning
    except ImportError as error:
        raise MissingExtraError(
            f"the variant 'pruned' needs {error.name}, which is not installed",
            next_step="pip install 'modelport[build]'",
        ) from error
    return torch_pruning


def _dependencies(network: nn.Module, example: Tensors) -> Any:
    tool = import_torch_pruning()
    return tool.DependencyGraph().build_dependency(network, example_inputs=example)


def _group(graph: Any, module: nn.Module, channels: Sequence[int]) -> Any:
    writes = graph.get_pruner_of_module(module).prune_out_channels
    return graph.get_pruning_group(module, writes, list(channels))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep its advice off the terminal: what it warns of is tried, and told as a reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# --- what came of it ------------------------------------------------------------


def _facts(before: nn.Module, after: nn.Module, example: Tensors) -> dict[str, Any]:
    layers = {name: before.get_submodule(name) for name in sorted(_layers(before))}
    return {
        "channels": {
            name: [_channels(layer), _channels(after.get_submodule(name))]
            for name, layer in layers.items()
        },
        "parameters": [sum(p.numel() for p in n.parameters()) for n in (before, after)],
        "macs": [_macs(network, example) for network in (before, after)],
    }


def _macs(network: nn.Module, example: Tensors) -> int:
    """Count multiply-accumulates of convolutions and matrix products, for one item."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*example)
    return int(counter.get_total_flops()) // 2 // len(example[0])


def _layers(network: nn.Module) -> set[str]:
    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    return {name for name, module in network.named_modules() if isinstance(module, kinds)}


def _channels(layer: Any) -> int:
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)


def _is_unknown(module: nn.Module) -> bool:
    own = any(True for _ in module.parameters(recurse=False))
    return own and not isinstance(module, (*_CUTTABLE, nn.LayerNorm, nn.GroupNorm, nn.Embedding))


def _outputs(given: Any) -> Tensors:
    return tuple(given) if isinstance(given, (tuple, list)) else (given,)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"[:200]


def _at(builder: Path, model: TorchModel) -> str:
    return f"{builder}: model {model.name!r}: variant 'pruned'"
