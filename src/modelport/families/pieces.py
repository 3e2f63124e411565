"""A tokenizer of word pieces, learned from a corpus, for networks that write texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

PAD, END, UNKNOWN = range(3)
_SPECIAL = ("<pad>", "</s>", "<unk>")


def learn(corpus: Iterable[str], *, pieces: int, longest: int) -> Any:
    """Make a ``tokenizers.Tokenizer`` of byte-pair merges (Sennrich et al. 2016, arXiv:1508.07909).

    Merges are counted, so a corpus gives one tokenizer; a unigram model, whose
    probabilities are summed up in no fixed order, came out different each time.
    Lower case; every text ends with the end token, also where it is cut off.

    Args:
        corpus: texts to learn from.
        pieces: size of the vocabulary, the special tokens among them.
        longest: tokens that are read of a text, the end token among them.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from tokenizers.trainers import BpeTrainer

    tokenizer = Tokenizer(models.BPE(unk_token=_SPECIAL[UNKNOWN]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits()]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = BpeTrainer(
        vocab_size=pieces,
        min_frequency=2,
        special_tokens=list(_SPECIAL),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[(_SPECIAL[END], END)]
    )
    return prepared(tokenizer, longest=longest, pad=PAD)


def prepared(tokenizer: Any, *, longest: int, pad: int) -> Any:
    """Set where a tokenizer cuts texts off, and how it pads a batch."""
    tokenizer.enable_truncation(longest)
    tokenizer.enable_padding(pad_id=pad, pad_token=tokenizer.id_to_token(pad))
    return tokenizer
