"""Judgements of variants on the terminal."""

from __future__ import annotations

from modelport.cli.output import Output
from modelport.repository import judgements
from modelport.repository.manifest import JudgementEntry


def show(out: Output, model: str, judgement: JudgementEntry) -> None:
    """Print the table of a model's variants: what they lose, what they gain, and the verdicts."""
    lost, gained = judgements.losses(judgement), judgements.gains(judgement)
    out.table(f"{model}: {judgements.title(judgement)}", lost.columns, lost.rows)
    out.table("", gained.columns, gained.rows)
    out.note(f"{model}: {judgements.about(judgement)}")
