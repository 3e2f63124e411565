"""Figures of summaries, and the simple methods that they are measured against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from modelport.build.dataset import Dataset, Split
from modelport.build.evaluation import bootstrap_interval

KINDS = ("rouge1", "rouge2", "rougeL")
_MOST_WORDS = 15


def rouge(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Give ROUGE-1, ROUGE-2 and ROUGE-L as mean F-measures, without stemming (Lin 2004).

    Each comes with its 95 % bootstrap interval, as ``rouge1_low`` and ``rouge1_high``.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(KINDS)
    pairs = zip(references, answers, strict=True)
    scores = [scorer.score(reference, answer) for reference, answer in pairs]
    figures: dict[str, float] = {}
    for kind in KINDS:
        values = np.array([score[kind].fmeasure for score in scores])
        low, high = bootstrap_interval(values)
        figures |= {kind: float(values.mean()), f"{kind}_low": low, f"{kind}_high": high}
    return figures


def first_words(dataset: Dataset) -> dict[str, float]:
    """Take a text's first words, as many as do best on the validation split.

    Args:
        dataset: with ``text`` and ``reference`` among its inputs, str[items, 1].
    """

    def measured(split: Split, count: int) -> dict[str, float]:
        texts, references = (split.inputs[name].ravel() for name in ("text", "reference"))
        return rouge([" ".join(text.split()[:count]) for text in texts], list(references))

    counts = range(1, _MOST_WORDS + 1)
    best = max(counts, key=lambda count: measured(dataset.validation, count)["rouge1"])
    return {**measured(dataset.test, best), "words": best}


def most_frequent(dataset: Dataset) -> dict[str, float]:
    """Answer every text with the most frequent reference of the training split.

    Args:
        dataset: with ``reference`` among its inputs, str[items, 1].
    """
    counts = Counter(text.casefold() for text in dataset.train.inputs["reference"].ravel())
    answer, _ = counts.most_common(1)[0]
    references = list(dataset.test.inputs["reference"].ravel())
    return rouge([answer] * len(references), references)


def baselines(kind: str) -> Mapping[str, Callable[[Dataset], dict[str, float]]]:
    """Name the simple methods, as a declaration takes them.

    Args:
        kind: what the summaries are, such as ``title``.
    """
    return {"first words": first_words, f"most frequent {kind}": most_frequent}
