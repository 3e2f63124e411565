"""Titles for customers' reviews: a small T5 that is trained here, or any pretrained T5.

::

    modelport build summarizer --data path/to/t5-small      a Hugging Face folder
    modelport build summarizer --data google-t5/t5-small    a name on the hub
    modelport build summarizer --data reviews.csv           trained on other reviews
"""

from __future__ import annotations

from typing import Any

from _reviews import REVIEWS

from modelport import spec
from modelport.build import own_data
from modelport.families import seq2seq, summaries
from modelport.families import transformers as graphs
from modelport.serving.seq2seq import Seq2Seq

GIVEN = own_data()
FOLDER = seq2seq.given_t5(GIVEN)
SOURCE = spec.LocalFile(str((FOLDER or GIVEN).absolute())) if GIVEN else REVIEWS

LEARNED = seq2seq.Learned(
    text="Review Text",
    reference="Title",
    config={
        "vocab_size": 4096, "d_model": 128, "d_kv": 32, "num_heads": 4, "d_ff": 256,
        "num_layers": 1, "relative_attention_max_distance": 64, "dropout_rate": 0.0,
    },
    # Of a review about its first 50 words are read, which is most of the median one (twice as
    # many double the time of training); 14 tokens hold all but a few titles.
    bounds=seq2seq.Bounds(read=64, written=14, most=32),
)  # fmt: skip
TRAINING = seq2seq.training(epochs=3, batch_size=32, learning_rate=2e-3, weight_decay=1e-2)
# Of a text a given T5 reads what it was trained on.
GIVEN_BOUNDS = seq2seq.Bounds(read=512, written=60, most=200)
T5 = seq2seq.Pretrained(FOLDER, GIVEN_BOUNDS) if FOLDER else LEARNED

EXAMPLES = (
    "This dress is beautiful! The fabric is soft, the colors are vibrant and it fits perfectly.",
    "I ordered my usual size and it was huge. The sweater itches and I sent it back.",
    "Ces pantalons sont très confortables 😀",
)
QUESTIONS = T5.questions(EXAMPLES, title="a title for", unseen=6)

TEXT = spec.Tensor("text", "BYTES", (1,), doc="what the title is for, UTF-8", content="text")
TITLE = spec.Tensor("title", "BYTES", (1,), doc="lower case", content="text")
PIECE = spec.Tensor(
    "title", "BYTES", (1,), doc="the next piece; all joined are the title", content="text"
)


def options(*, beams: bool) -> tuple[spec.Tensor, ...]:
    """Say what the options of a request are; the server refuses others."""
    meanings: dict[str, dict[str, Any]] = {
        "max_new_tokens": {"unit": "tokens", "minimum": 1.0},
        "num_beams": {"minimum": 1.0, "maximum": 8.0},
        "temperature": {"minimum": 0.0, "maximum": 100.0},
        "top_k": {"minimum": 0.0},
        "top_p": {"minimum": 0.0, "maximum": 1.0},
        "seed": {"minimum": 0.0},
        "stop": {"content": "text"},
    }
    tensors = graphs.generation_options(beams=beams)
    return spec.described(tensors, **{t.name: meanings[t.name] for t in tensors})


# The scores of a token reach 20 and pass through sums of 128 products.
CLOSE = spec.Tolerance(absolute=1e-3, relative=1e-3)
# Requests of equal length share an execution; a lone one hardly waits.
GATHERED = spec.ModelDynamicBatching(max_queue_delay_microseconds=100)
PARTS = ("summarizer_encoder", "summarizer_decoder")

LIMITS = (
    "Trained on English reviews of women's clothes: of other texts it makes a title of such words.",
    "Titles are lower case, and often the most usual one that fits.",
    "Of a text the first 64 tokens are read, about 50 words.",
)

models = (
    spec.TorchModel(
        name="summarizer_encoder",
        doc="Reads a text once: what the decoder attends to.",
        inputs=T5.tensors.encoder_inputs,
        outputs=T5.tensors.encoder_outputs,
        serving=spec.Serving(dynamic_batching=GATHERED),
        sources=(SOURCE,),
        network=T5.network,
        part=lambda trained: graphs.T5Encoder(trained.network),
        data=None if FOLDER else LEARNED.dataset,
        training=None if FOLDER else TRAINING,
        measure=None if FOLDER else LEARNED.measure,
        baselines={} if FOLDER else summaries.baselines("title"),
        # Measured 0.13; the first words of a review, which it must beat, come to 0.09.
        gates=() if GIVEN else (spec.Gate("rouge1", at_least=0.11),),
        samples=T5.encoder_samples(EXAMPLES),
        tolerance=CLOSE,
    ),
    spec.TorchModel(
        name="summarizer_decoder",
        doc="One token of a title: scores of the next, and its column of the cache.",
        # Streams are at different lengths, and only equal shapes share an execution.
        max_batch_size=T5.bounds.rows,
        inputs=T5.tensors.decoder_inputs,
        outputs=T5.tensors.decoder_outputs,
        sources=(SOURCE,),
        weights_of="summarizer_encoder",
        part=lambda trained: graphs.T5DecoderStep(trained.network),
        samples=T5.tensors.decoder_samples,
        tolerance=CLOSE,
    ),
    spec.PythonModel(
        name="summarizer",
        doc="Writes a title for a customer's review.",
        limits=() if FOLDER else LIMITS,
        max_batch_size=16,
        inputs=(TEXT, *options(beams=True)),
        outputs=(TITLE,),
        sources=(SOURCE,),
        samples=QUESTIONS,
        load=lambda folder: Seq2Seq.from_folder(folder, "summarizer", output="title"),
        files=T5.files,
        calls=PARTS,
    ),
    spec.PythonModel(
        name="summarizer_stream",
        doc="Writes a title piece by piece, one response per token.",
        limits=() if FOLDER else LIMITS,
        max_batch_size=1,
        inputs=(TEXT, *options(beams=False)),
        outputs=(PIECE,),
        sources=(SOURCE,),
        samples=QUESTIONS,
        load=lambda folder: Seq2Seq.from_folder(folder, "summarizer", output="title").stream,
        files=T5.files,
        calls=PARTS,
        decoupled=True,
    ),
)
