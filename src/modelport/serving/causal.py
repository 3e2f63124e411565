"""Chat with a decoder-only language model that runs inside the Python backend.

The cache of a language model is megabytes a token, too much to send to another
model of the server and back for each: so the session lives here, and the cache
stays where ONNX Runtime made it.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from modelport.serving import generation, text
from modelport.serving.generation import Options, Transcript
from modelport.serving.python_model import Arrays, BadItemError

MODEL = "decoder.onnx"
SETTINGS = "generation.json"


class ChatML:
    """Prompts in ChatML, the form that the model was taught.

    What people write is never read as a mark of the form: ``<|im_end|>`` in a text is text.

    Args:
        tokens: the tokenizer.
        system: what the model is told first where a request says nothing.
    """

    def __init__(self, tokens: text.Tokens, system: str) -> None:
        self._tokenizer = tokens.tokenizer
        # The marks are put in by number below, so none is looked for in a text.
        self._tokenizer.encode_special_tokens = True
        self._start, self._end = (self._number(mark) for mark in ("<|im_start|>", "<|im_end|>"))
        self._system = system

    def prompt(self, message: str, system: str | None = None) -> list[int]:
        """Give the tokens up to where the answer begins."""
        told = self._system if system is None else system
        return [
            *self._turn("system", told),
            *self._turn("user", message),
            self._start,
            *self._encoded("assistant\n"),
        ]

    def _turn(self, role: str, content: str) -> list[int]:
        words = self._encoded(f"{role}\n{content}")
        return [self._start, *words, self._end, *self._encoded("\n")]

    def _number(self, mark: str) -> int:
        number = self._tokenizer.token_to_id(mark)
        if number is None:
            raise ValueError(f"the tokenizer has no {mark}, so it is not one for ChatML")
        return number

    def _encoded(self, content: str) -> list[int]:
        return list(self._tokenizer.encode(content, add_special_tokens=False).ids)


class Chat:
    """One message in, its answer out: whole, or piece by piece.

    Args:
        folder: version folder with the decoder, ``tokenizer.json`` and the settings:
            ``system``, ``end`` token, ``layers``, ``heads`` and ``size`` of the cache, the
            ``context`` in tokens, ``max_new_tokens`` where a request names none, ``threads``.
    """

    def __init__(self, folder: Path) -> None:
        settings = json.loads((folder / SETTINGS).read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings["threads"]
        # Caches grow with each token; an arena would keep every size that ever was.
        options.enable_cpu_mem_arena = False
        self._session = onnxruntime.InferenceSession(
            folder / MODEL, options, providers=["CPUExecutionProvider"]
        )
        self._settings = settings
        self._tokens = text.Tokens.from_folder(folder)
        self._form = ChatML(self._tokens, settings["system"])

    def __call__(self, inputs: Arrays) -> Generator[dict[str, np.ndarray], None, None]:
        """Answer one message.

        Args:
            inputs: ``text`` bytes[1, 1]; optionally ``system`` bytes[1, 1], ``stream``
                bool[1, 1] (true unless given: a response per token; false: one response
                with the whole answer), and the options of
                :class:`~modelport.serving.generation.Options`.

        Yields:
            ``answer`` bytes[1, 1]: a piece per token, or the whole.

        Raises:
            BadItemError: a text is empty, not UTF-8 or too long, or an option is out of
                its bounds.
        """
        prompt, chosen = self.prepared(inputs)
        pieces = self.pieces(prompt, chosen)
        if bool(np.all(inputs.get("stream", True))):
            for piece in pieces:
                yield {"answer": text.answers([piece])}
        else:
            yield {"answer": text.answers(["".join(pieces)])}

    def prepared(self, inputs: Arrays) -> tuple[list[int], Options]:
        """Give the tokens of the prompt, and how to go on from there."""
        system = text.texts(inputs["system"])[0] if "system" in inputs else None
        prompt = self._form.prompt(text.texts(inputs["text"])[0], system)
        context = self._settings["context"]
        defaults = Options(max_new_tokens=self._settings["max_new_tokens"])
        chosen = generation.options(inputs, 0, defaults, context)
        if len(prompt) + chosen.max_new_tokens > context:
            raise BadItemError(
                f"the text and its frame have {len(prompt):,} tokens, and `max_new_tokens` is"
                f" {chosen.max_new_tokens:,}; together {context:,} is the most"
            )
        return prompt, chosen

    def pieces(self, prompt: Sequence[int], chosen: Options) -> Iterator[str]:
        """Go on from a prompt: the text of each new token, empty where it is not settled."""
        one = generation.search(chosen, self._settings["end"])
        transcript = Transcript(self._tokens.decode, chosen.stop)
        step = _Decoder(self._session, self._settings, prompt[:-1])
        for _ in generation.decode(step, [one], prompt[-1]):
            yield transcript.extend(one.tokens, final=one.done)
            if transcript.stopped:
                one.finish()


class _Decoder:
    """One stream's cache; a step of the loop.

    Args:
        session: of the graph that :func:`modelport.families.gguf.onnx_graph` makes.
        settings: ``layers``, ``heads`` and ``size``.
        prompt: read at once before the first step.
    """

    def __init__(self, session: Any, settings: dict[str, Any], prompt: Sequence[int]) -> None:
        self._session = session
        kinds = [f"{kind}_{n}" for n in range(settings["layers"]) for kind in ("key", "value")]
        self._kinds = kinds
        empty = np.zeros((1, settings["heads"], 0, settings["size"]), np.float32)
        self._cache = [_value(empty) for _ in kinds]
        self._length = 0
        self._run(prompt)

    def __call__(self, _: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        return self._run(tokens.tolist())

    def _run(self, tokens: Sequence[int]) -> np.ndarray:
        self._length += len(tokens)
        feeds = {
            "input_ids": _value(np.array([tokens], np.int64)),
            "seqlens_k": _value(np.array([self._length - 1], np.int32)),
            "total_sequence_length": _value(np.array(self._length, np.int32)),
        }
        feeds |= {f"past_{k}": past for k, past in zip(self._kinds, self._cache, strict=True)}
        logits, *self._cache = self._session.run_with_ort_values(["logits", *self._kinds], feeds)
        return np.asarray(logits.numpy()[:, -1])


def _value(array: np.ndarray) -> Any:
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)
