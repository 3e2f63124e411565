"""The invoice model on MLServer."""

import sys
from pathlib import Path

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse

sys.path.insert(0, str(Path(__file__).parents[1]))

import invoice
import numpy as np


class Invoice(MLModel):
    """Decodes, answers, encodes."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request."""
        inputs = {one.name: one for one in payload.inputs}
        prices = NumpyCodec.decode_input(inputs["prices"])
        customers = np.array(StringCodec.decode_input(inputs["customer"]), object)
        try:
            totals, greetings = invoice.answer(prices, customers.reshape(-1, 1))
        except invoice.RefusedError as error:
            raise InferenceError(str(error)) from error
        names = [text.decode() for text in greetings.ravel()]
        outputs = [
            NumpyCodec.encode_output("total", totals),
            StringCodec.encode_output("greeting", names, use_bytes=True),
        ]
        wanted = {one.name for one in payload.outputs or ()}
        return InferenceResponse(
            id=payload.id,
            model_name=self.name,
            outputs=[one for one in outputs if not wanted or one.name in wanted],
        )
