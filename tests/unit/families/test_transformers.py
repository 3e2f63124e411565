"""The graphs cut out of a T5, against the library's own forward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelport.build.dataset import Dataset
from modelport.errors import DataError
from modelport.families import pieces, summaries
from modelport.families import transformers as graphs

TINY: dict[str, Any] = {
    "vocab_size": 50, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_heads": 3, "num_layers": 2,
    "num_decoder_layers": 3, "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1,
    "dropout_rate": 0.0, "relative_attention_max_distance": 12,
    "relative_attention_num_buckets": 8,
}  # fmt: skip


def tiny(**changes: Any) -> Any:
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    return T5ForConditionalGeneration(T5Config(**(TINY | changes))).eval()


@pytest.mark.parametrize(
    "changes",
    [{}, {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}],
    ids=["t5", "t5 1.1"],
)
def test_encoder_and_steps_give_the_whole_networks_scores(changes: dict[str, Any]) -> None:
    network = tiny(**changes)
    ids, written = torch.randint(2, 50, (3, 20)), torch.randint(0, 50, (3, 15))
    mask = torch.ones_like(ids)
    mask[1, 12:] = 0
    mask[2, 5:] = 0
    with torch.inference_mode():
        want = network(input_ids=ids, attention_mask=mask, decoder_input_ids=written).logits
        cross_keys, cross_values = graphs.T5Encoder(network)(ids, mask)
        keys = values = cross_keys[:, :, :, :0]
        for at in range(15):
            logits, key, value = graphs.T5DecoderStep(network)(
                written[:, at : at + 1], mask, cross_keys, cross_values, keys, values
            )
            # float32 sums in another order, through five layers and scores of up to 20.
            np.testing.assert_allclose(logits, want[:, at], atol=1e-4, rtol=1e-4)
            keys, values = torch.cat([keys, key], dim=3), torch.cat([values, value], dim=3)


def test_teacher_forcing_gives_the_library_s_loss() -> None:
    network = tiny()
    ids, labels = torch.randint(2, 50, (4, 9)), torch.randint(2, 50, (4, 7))
    ids[0, 6:] = 0
    labels[0, 3:] = 0
    losses = graphs.TeacherForced(network, str)(ids, labels)
    mask = (ids != 0).long()
    want = network(input_ids=ids, attention_mask=mask, labels=labels.where(labels != 0, -100))
    torch.testing.assert_close(graphs.TeacherForced.mean(losses, labels), want.loss)
    assert losses.shape == labels.shape
    assert torch.all((losses > 0) == (labels != 0))


def test_samples_of_the_decoder_begin_without_a_past() -> None:
    tensors = graphs.T5Tensors(TINY)
    shapes = {tensor.name: tensor.dims for tensor in tensors.decoder_inputs}
    samples = tensors.decoder_samples()
    assert samples[0].inputs["past_keys"].shape == (3, 3, 0, 8)
    for sample in samples:
        for name, array in sample.inputs.items():
            fits = zip(shapes[name], array.shape, strict=True)
            assert all(dim in (-1, got) for dim, got in fits)


def test_what_is_no_t5_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no config\.json"):
        graphs.t5_folder(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bart"}))
    with pytest.raises(DataError, match="holds a model of type 'bart'"):
        graphs.t5_folder(str(tmp_path))


def test_a_hub_name_without_a_network_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="nobody/nothing: there is no such folder here") as caught:
        graphs.t5_folder("nobody/nothing")
    assert "hf download nobody/nothing" in str(caught.value.next_step)


def test_the_task_s_prefix_is_taken_from_the_config() -> None:
    task = {"task_specific_params": {"summarization": {"prefix": "summarize: "}}}
    assert graphs.t5_settings(TINY | task) == {"start": 0, "end": 1, "prefix": "summarize: "}
    assert graphs.t5_settings(TINY)["prefix"] == ""


CORPUS = ["a great dress, great fabric", "this dress fits", "great top! it fits"] * 3


def test_a_corpus_gives_one_tokenizer() -> None:
    learned = [pieces.learn(CORPUS, pieces=60, longest=8) for _ in range(2)]
    assert learned[0].to_str() == learned[1].to_str()
    ids = learned[0].encode("Great dress!").ids
    assert ids[-1] == pieces.END
    assert learned[0].decode(ids) == "great dress!"
    cut = learned[0].encode("this dress fits " * 9).ids
    assert len(cut) == 8
    assert cut[-1] == pieces.END


def test_rouge_counts_words_and_their_order() -> None:
    same = summaries.rouge(["Great dress!"], ["great dress"])
    assert {kind: same[kind] for kind in summaries.KINDS} == {
        "rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0
    }  # fmt: skip
    turned = summaries.rouge(["dress great"], ["great dress"])
    assert [turned[kind] for kind in summaries.KINDS] == [1.0, 0.0, 0.5]


def test_rouge_of_answers_that_differ_has_an_interval() -> None:
    figures = summaries.rouge(["great dress", "bad"] * 20, ["great dress"] * 40)
    assert figures["rouge1_low"] < figures["rouge1"] == 0.5 < figures["rouge1_high"]


def test_baselines_look_at_nothing_of_the_test_split_but_its_texts() -> None:
    texts = np.array([[f"good thing number {n} of many"] for n in range(40)], np.object_)
    titles = np.array([["good thing"] if n % 2 else ["Nice"] for n in range(40)], np.object_)
    data = Dataset.split({"text": texts, "reference": titles}, np.zeros(40, np.int64))
    simple = summaries.baselines("title")
    assert simple["first words"](data)["words"] == 2
    assert simple["most frequent title"](data)["rouge1"] in (
        pytest.approx(np.mean([t == "Nice" for t in data.test.inputs["reference"].ravel()])),
        pytest.approx(np.mean([t != "Nice" for t in data.test.inputs["reference"].ravel()])),
    )
