"""What builders of one family share: networks, readers of published data, methods to beat.

One module per thing: how texts become tokens, how a time series is cut into windows, how a
list of ratings is questioned. Builder files take what they need of it and declare the rest;
your own may do the same::

    images      augment, backbones, blending, cifar, handwriting, pictures
    classes     classification, topk
    texts       texts, corpora, reviews, padding, embeddings, pieces, summaries, transformers,
                seq2seq, gguf
    tables      columns
    ratings     interactions, recommenders, rankings, two_towers
    sensors     recordings, recurrent
    series      windows
"""
