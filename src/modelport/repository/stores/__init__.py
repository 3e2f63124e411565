"""Where versions live beside the repository itself: a local folder, or S3.

A store holds what a model repository holds, under the same names, so that
tritonserver can serve from it directly::

    promotions.jsonl              who had which version serve, written before ...
    NAME/config.pbtxt             ... this, last of all; it names the versions that serve, always
    NAME/labels.txt               what config.pbtxt refers to
    NAME/3/model.onnx             immutable, listed with its sha256 in ...
    NAME/3/manifest.json          ... this, which is written when the rest is there
    NAME/3/model.sig              a signature, which may come later

The way through this package::

    modelport.repository.stores.address    what a URL stands for
    modelport.repository.stores.store      the few things that a store can do
    modelport.repository.stores.folder     a local folder
    modelport.repository.stores.s3         S3, and whatever speaks its protocol
    modelport.repository.stores.contents   what lies in a store, from its listing
    modelport.repository.stores.face       what lies beside the versions: config.pbtxt, labels
    modelport.repository.stores.ledger     when a repository and a store were last in step
    modelport.repository.stores.promoted   the log of promotions, which only grows
    modelport.repository.stores.outgoing   what a push has to bring
    modelport.repository.stores.push       from a repository to a store
    modelport.repository.stores.incoming   what a pull has to bring
    modelport.repository.stores.fetch      files into a staging folder, digested
    modelport.repository.stores.signed     what would serve must be signed where that is demanded
    modelport.repository.stores.removal    what is gone from a store
    modelport.repository.stores.pull       from a store to a repository, once or again and again

A config.pbtxt in a store names its versions (``version_policy { specific … }``), whatever it
says at home. ``latest`` would make Triton take up a version folder while it still fills.
"""

from __future__ import annotations

from pathlib import Path

from modelport.repository.stores.address import S3Address, parse
from modelport.repository.stores.store import Store

__all__ = ["Store", "open_store"]


def open_store(url: str) -> Store:
    """Open the store at a URL or path; nothing is read or written yet.

    Raises:
        StoreError: the URL is none of a store.
        StoreAccessError: the AWS settings of this user are wrong.
        MissingExtraError: it is S3, and boto3 is not installed.
    """
    place = parse(url)
    if isinstance(place, S3Address):
        from modelport.repository.stores.s3 import S3Store

        return S3Store(place)
    from modelport.repository.stores.folder import FolderStore

    return FolderStore(Path(place))
