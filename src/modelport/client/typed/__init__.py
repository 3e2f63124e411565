"""What generated wrappers run on: ``modelport codegen python`` writes the rest.

A generated module declares its model (:class:`Model`), its result and its parameters, and
derives from :class:`Wrapper` and :class:`AsyncWrapper`, which hold all that is the same for
every model::

    model     the tensors that a wrapper was made for, and whether the served model has them
    items     from single items to batches, and from batches to rows
    wrapper   the blocking face
    aio       the face for asyncio
    program   the command line of a wrapper
"""

from modelport.client.typed.aio import AsyncSequenceWrapper, AsyncWrapper
from modelport.client.typed.items import Row, content, document
from modelport.client.typed.model import Model, Tensor
from modelport.client.typed.program import Argument, Program, run
from modelport.client.typed.wrapper import SequenceWrapper, Wrapper

__all__ = [
    "Argument",
    "AsyncSequenceWrapper",
    "AsyncWrapper",
    "Model",
    "Program",
    "Row",
    "SequenceWrapper",
    "Tensor",
    "Wrapper",
    "content",
    "document",
    "run",
]
