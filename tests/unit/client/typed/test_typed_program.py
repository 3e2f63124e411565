"""The command line of a wrapper, as far as it needs no server."""

from __future__ import annotations

import pytest

from modelport.client import typed
from modelport.client.typed import program


class Wrapper(typed.Wrapper):
    model = typed.Model("m", (typed.Tensor("x", "FP32", ()),), (typed.Tensor("y", "FP32", ()),))


@pytest.mark.parametrize("words", ["Is right 90% of the time.", "100% of %(prog)s, 5 %d", "%%"])
def test_words_of_a_model_are_shown_as_they_are(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = typed.Program(words, typed.Argument("x", "float", f"the x: {words}"))
    with pytest.raises(SystemExit):
        program.run(Wrapper, told, ["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert f" {words} " in shown
    assert f"the x: {words}" in shown
