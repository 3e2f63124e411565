"""The report: a page that is well formed, whole, and safe whatever files say."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import perf_results
import pytest
from click.testing import CliRunner

from modelport import cli
from modelport.errors import MissingExtraError
from modelport.perf.report import charts, page, rows
from modelport.perf.result import (
    Checked,
    Content,
    Disturbance,
    Latency,
    Level,
    Result,
    Settings,
)

EVIL = '<script>alert("1")</script> & $x_{1}$ _{"'
_VOID = {"meta", "link", "br", "img", "hr", "input"}


class Reader(HTMLParser):
    """Reads a page: its elements, texts and links, and whether each element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: set[str] = set()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        found = dict(attrs)
        assert not [name for name in found if name.startswith("on")]
        self.links += [v for k, v in attrs if v and k in ("href", "src", "action", "xlink:href")]
        self.ids += [v for k, v in attrs if v and k == "id"]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def evil() -> Result:
    """Give a result all of whose texts try to leave their place."""
    levels = [perf_results.level(n, name=f"{EVIL}{n}") for n in (1, 8)]
    levels = [
        one.model_copy(update={"parts": {EVIL: one.parts["digits_cnn"], "_b": one.parts["digits"]}})
        for one in levels
    ]
    return perf_results.result(
        model=EVIL,
        versions={EVIL: 3},
        levels=levels,
        profile={EVIL: EVIL},
        reasons=[EVIL],
        settings={},
        content=Content(during=Checked(replies=2, wrong=1, first_problem=EVIL)),
        machine=perf_results.MACHINE.model_copy(
            update={"processor": EVIL, "packages": {EVIL: EVIL}}
        ),
        disturbance=Disturbance(busy=True, note=EVIL),
    )


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """Render each kind of page once."""
    bare = Level(name="burst", kind="burst", duration_s=1, replies=0, errors=9, replies_per_s=0)
    few = perf_results.result(levels=[perf_results.level(2)])
    nothing = perf_results.result(levels=[], objectives=[], settings={}, versions={})
    return {
        "usual": page.render([perf_results.result()]),
        "several": page.render([few, few]),
        "evil": page.render([evil()]),
        "without figures": page.render([perf_results.result(levels=[bare])]),
        "without levels": page.render([nothing]),
    }


PAGES = ["usual", "several", "evil", "without figures", "without levels"]


@pytest.mark.parametrize("name", PAGES)
def test_it_is_well_formed_and_stands_alone(pages: dict[str, str], name: str) -> None:
    page = Reader(pages[name])
    assert page.open == []
    assert "script" not in page.elements
    assert len(page.ids) == len(set(page.ids))
    assert {link for link in page.links if not link.startswith("#")} == set()
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert not re.search(r"https?:|@import|url\((?!#)", pages[name])


def test_texts_of_files_stay_texts(pages: dict[str, str]) -> None:
    said = "".join(Reader(pages["evil"]).texts)
    # model, title, reason, levels, profile, processor, package, problem, disturbance, charts
    assert said.count(EVIL) > 15
    assert "<script" not in pages["evil"]


def test_the_verdict_and_every_objective_stand_on_it(pages: dict[str, str]) -> None:
    said = "".join(Reader(pages["usual"]).texts)
    assert said.index("FAIL") < said.index("p99 <= 20 ms at concurrency 8") < said.index("Levels")
    for words in ("✓ met", "✗ not met", "? not known", "tritonserver 2.51.0", "24,000 replies"):
        assert words in said


def test_every_chart_is_drawn_where_there_are_figures(pages: dict[str, str]) -> None:
    for chart in charts.CHARTS:
        assert f"<h3>{chart.title}</h3>" in pages["usual"]
        assert f"<h3>{chart.title}</h3>" not in pages["without figures"]
    assert pages["several"].count("<figure>") == 2 * len(charts.CHARTS)


def test_colours_of_charts_are_those_of_the_page(pages: dict[str, str]) -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", pages["usual"], flags=re.DOTALL))
    assert not set(re.findall(r": (#[0-9a-f]{6})", drawings)) - {"#ffffff", "#000000"}
    style = pages["usual"][: pages["usual"].index("</style>")]
    used = set(re.findall(r"var\((--\w+)\)", pages["usual"]))
    day, night = style.split("prefers-color-scheme", 1)
    assert used <= set(re.findall(r"(--[\w-]+):", day)) & set(re.findall(r"(--[\w-]+):", night))


def test_a_chart_of_the_first_reply_of_streams(pages: dict[str, str]) -> None:
    first = Latency(mean=1, p50=1, p90=1, p95=1, p99=1, p999=1, max=1)
    levels = [perf_results.level(1, first_response_ms=first), perf_results.level(8)]
    assert "first reply" in page.render([perf_results.result(levels=levels)])


def test_pictures_are_written_inside_their_folder(tmp_path: Path) -> None:
    few = perf_results.result(levels=[perf_results.level(1)], model="../a/b")
    written = page.pictures([few, few], tmp_path / "new")
    assert {path.parent for path in written} == {tmp_path / "new"}
    assert len(set(written)) == 2 * len(charts.CHARTS) - 2  # no batch above 1, in either
    assert written[0].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (0, "0"),
        (0.01234, "0.0123"),
        (1.5, "1.50"),
        (99.96, "100"),
        (12345.6, "12,346"),
    ],
)
def test_numbers_have_three_digits_that_count(value: float | None, text: str | None) -> None:
    assert rows.number(value) == text


def test_waits_in_the_queues_of_all_parts_count() -> None:
    """Triton's entry of an ensemble knows nothing of them; seen on 2.51.0."""
    result = perf_results.result()
    level = perf_results.level(4)
    parts = {name: part.model_copy(update={"queue_ms": 0.5}) for name, part in level.parts.items()}
    level = level.model_copy(update={"parts": parts})
    own = rows.own_part(result, level)
    assert own
    assert own.queue_ms == pytest.approx(1.5)
    assert rows.own_part(result.model_copy(update={"model": "mixed"}), level) is None


def test_readers_are_cautioned() -> None:
    level = perf_results.level(
        8, kind="open", concurrency=None, stable=False, late_share=0.2, corrected=True
    )
    busy = Disturbance(busy=True, note="a neighbour")
    said = " ".join(rows.cautions(perf_results.result(levels=[level], disturbance=busy)))
    for words in ("A neighbour", "Not stable: concurrency 8", "20%", "from when they were due"):
        assert words in said
    assert "closed" not in said.lower()


@pytest.mark.parametrize("kind", ["closed", "sequences", "streams"])
def test_callers_who_wait_are_told_of(kind: str) -> None:
    waiting = perf_results.level(8, name=f"{kind} 8", kind=kind)
    scheduled = perf_results.level(1, name="200/s", kind="open", corrected=True)
    (said,) = rows.cautions(perf_results.result(levels=[waiting]))
    assert said.startswith("The load is closed. Callers wait")
    (said,) = rows.cautions(perf_results.result(levels=[waiting, scheduled]))
    assert said.startswith(f"Closed: {kind} 8. Callers wait")
    lost = perf_results.level(1, name="900/s", kind="open", latency_ms=None, replies=0)
    assert rows.cautions(perf_results.result(levels=[scheduled, lost])) == []


def test_code_that_calls_models_has_their_queues_in_its_own_time() -> None:
    level = perf_results.level(4)
    bare = Settings(max_batch_size=32)  # as an ensemble it has no instance_group
    result = perf_results.result(settings={"digits": bare})
    assert rows.own_part(result, level) == level.parts["digits"]


@pytest.mark.parametrize("name", ["jinja2", "matplotlib"])
def test_what_a_report_needs_is_known_before_the_load(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.check()
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=f"needs {name}: not installed"):
        page.check()


def test_the_command_shows_writes_and_gives_json(tmp_path: Path) -> None:
    perf_results.result().write(tmp_path / "result.json")
    page = tmp_path / "new" / "r.html"
    said = CliRunner().invoke(
        cli.command, ["perf", "report", str(tmp_path), "--html", str(page)], catch_exceptions=False
    )
    assert said.exit_code == 0
    for words in ("concurrency 32", "✗", "verdict: fail"):
        assert words in said.stdout
    assert page.read_text().startswith("<!doctype html>")
    found = CliRunner().invoke(cli.command, ["perf", "report", str(tmp_path), "--json"])
    assert Result.model_validate_json(found.stdout) == perf_results.result()
