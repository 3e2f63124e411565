"""What builders of text models share: a tokenizer, vectors of words, a simple method to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelport.build import evaluation
from modelport.build.dataset import Dataset

PADDING, UNKNOWN = "[PAD]", "[UNK]"
# Further apart, words of a sentence say little about each other.
_WINDOW = 5
# Smooths the counts of rare contexts (Levy, Goldberg & Dagan 2015, TACL 3, section 3.2).
_CONTEXT_POWER = 0.75


def word_tokenizer(corpus: Sequence[str], *, words: int, longest: int, multiple_of: int = 1) -> Any:
    """Make a ``tokenizers.Tokenizer`` of words and punctuation marks, lower case, no accents.

    Args:
        corpus: texts whose words it learns; those seen once stay unknown.
        words: the most that it learns.
        longest: tokens that are read of a text; what follows is cut off.
        multiple_of: batches are padded to a multiple of this length.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    # NFKC makes full-width letters and ligatures plain before the rest looks at them.
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.BertNormalizer(strip_accents=True)]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordLevelTrainer(
        vocab_size=words,
        min_frequency=2,
        special_tokens=[PADDING, UNKNOWN],
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.enable_truncation(longest)
    tokenizer.enable_padding(pad_token=PADDING, pad_to_multiple_of=multiple_of)
    return tokenizer


def word_vectors(ids: np.ndarray, mask: np.ndarray, *, words: int, size: int) -> np.ndarray:
    """Learn vectors of words from the company they keep, without labels.

    The positive pointwise mutual information of words and their neighbours,
    factorized (Levy & Goldberg 2014, NeurIPS; Levy, Goldberg & Dagan 2015, TACL 3).
    A neighbour at distance d counts 1/d.

    Args:
        ids: the corpus as token numbers, int64[texts, length].
        mask: 1 on tokens, 0 on padding, of that shape.
        words: size of the vocabulary.
        size: of the vectors.

    Returns:
        float32[words, size], standard deviation 1 (less where there are fewer words than
        dimensions, which stay 0).
    """
    from scipy import sparse
    from sklearn.utils.extmath import randomized_svd

    shape = (words, words)
    counts = sparse.csr_matrix(shape)
    for distance in range(1, _WINDOW + 1):
        real = mask[:, distance:] == 1
        pair = ids[:, :-distance][real], ids[:, distance:][real]
        weights = np.full(len(pair[0]), 1 / distance)
        counts = counts + sparse.csr_matrix((weights, pair), shape)
    together = (counts + counts.T).tocoo()
    often = np.asarray(together.sum(axis=1)).ravel()
    context = often**_CONTEXT_POWER / (often**_CONTEXT_POWER).sum()
    expected = often[together.row] * context[together.col]
    information = np.log(together.data / expected)
    kept = information > 0
    places = together.row[kept], together.col[kept]
    matrix = sparse.csr_matrix((information[kept], places), shape)
    left, strengths, _ = randomized_svd(matrix, n_components=size, random_state=0)
    vectors = left * np.sqrt(strengths)
    vectors = vectors / vectors.std()
    # A vocabulary of fewer words than dimensions leaves some of them empty.
    return np.pad(vectors, ((0, 0), (0, size - vectors.shape[1]))).astype(np.float32)


def tfidf_classifier(dataset: Dataset) -> dict[str, float]:
    """Figures of logistic regression on TF-IDF of words and pairs of words.

    Args:
        dataset: has the texts as the input ``text``, str[items, 1].
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
        LogisticRegression(C=10, max_iter=1000),
    )
    pipeline.fit(dataset.train.inputs["text"].ravel(), dataset.train.targets)
    scores = pipeline.predict_proba(dataset.test.inputs["text"].ravel())
    return evaluation.classification(scores, dataset.test.targets)
