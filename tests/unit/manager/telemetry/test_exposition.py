from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from manager.telemetry.exposition import ExpositionError, Family, Section, merge, parse, render

LABELS = {"agent_id": "a", "instance_id": "i1"}


def page(families: list[Family]) -> list[str]:
    return render(families).decode().splitlines()


def sections(text: str, labels: dict[str, str]) -> list[Section]:
    return [family.section() for family in parse(text, labels)]


def samples(text: str, labels: dict[str, str] | None = None) -> list[str]:
    return [line for line in page(parse(text, labels)) if not line.startswith("#")]


def test_labels_are_added_to_every_series() -> None:
    text = '# HELP x Help.\n# TYPE x gauge\nx 1\nx{} 2\nx{b="2", a="1",} 3\n'
    assert page(parse(text, LABELS)) == [
        "# HELP x Help.",
        "# TYPE x gauge",
        'x{agent_id="a",instance_id="i1"} 2',
        'x{agent_id="a",instance_id="i1",a="1",b="2"} 3',
    ]


def test_a_page_s_own_label_of_that_name_becomes_exported() -> None:
    text = 'x{agent_id="lie",exported_agent_id="older",instance_id="lie"} 1\n'
    assert samples(text, LABELS) == [
        'x{agent_id="a",instance_id="i1",exported_agent_id="older",'
        'exported_exported_agent_id="lie",exported_instance_id="lie"} 1'
    ]


def test_what_prometheus_client_writes_comes_back_as_it_was() -> None:
    registry = CollectorRegistry()
    Counter("c", 'With "quotes", \\ and\nnewline.', ["l"], registry=registry).labels('q"\\\n').inc()
    Gauge("g", "Help.", registry=registry).set(float("nan"))
    Info("i", "Help.", registry=registry).info({"version": "1"})
    Histogram("h_seconds", "Help.", registry=registry).observe(0.3)
    Summary("s_seconds", "Help.", registry=registry).observe(1e-7)
    written = generate_latest(registry).decode()
    lines = [line for line in written.splitlines() if "_created" not in line]
    assert page(parse(written)) == lines


def test_created_series_are_left_out_only_beside_the_series_they_date() -> None:
    text = "# TYPE a_total counter\na_total 1\n# TYPE a_created gauge\na_created 5\nfile_created 6\n"
    assert samples(text) == ["a_total 1", "file_created 6"]


@pytest.mark.parametrize(
    "line",
    ["x 1", "x -1.5e-07", "x +Inf", "x -Inf", "x NaN", "x .5", "x 5.", "x 1 1700000000000", 'x{a="}"} 1', "x\t1"],
)
def test_every_form_of_a_sample(line: str) -> None:
    assert len(samples(line)) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<html>not found</html>", "is no sample"),
        ("x", "is no sample"),
        ("x1", "is no sample"),
        ("x one", "is no sample"),
        ("x 1_000", "is no sample"),
        ("x 0x1p4", "is no sample"),
        ("x \u0661", "is no sample"),
        ("x 1 2 3", "is no sample"),
        ("x 1 # {trace_id=1} 1", "is no sample"),
        ("x{a=1} 1", "is no sample"),
        ('x{a="1} 1', "is no sample"),
        ('x{a="1"b="2"} 1', "is no sample"),
        ('x{a="\\t"} 1', "is no sample"),
        ('x{ä="1"} 1', "is no sample"),
        ("\ufeffx 1", "is no sample"),
        ("x 1e999", "out of range"),
        ("x " + "9" * 400, "out of range"),
        ('x{a="1",a="2"} 1', "a label twice"),
        ('x{__name__="y"} 1', "reserved label"),
        ("# TYPE x gauge\n# TYPE x counter", "second TYPE"),
        ("x 1\n# TYPE x gauge", "second TYPE"),
        ("# TYPE x stateset", "has a type other than"),
        ("# TYPE x", "has a type other than"),
        ("# TYPE 1x gauge", "no valid metric name"),
        ("# HELP", "no valid metric name"),
        ("# HELP x a\n# HELP x b", "second HELP"),
        ("# HELP x \\t", "escape"),
        ('# TYPE x histogram\nx_bucket{le="many"} 1', "label le that is no number"),
        ('# TYPE x summary\nx{quantile="1e999"} 1', "label quantile that is no number"),
        ("# TYPE x histogram\n# TYPE x_count gauge", "contradicts the metric x"),
    ],
)
def test_what_prometheus_would_refuse_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ExpositionError, match=reason):
        parse(text)


def test_the_error_names_line_and_text() -> None:
    with pytest.raises(ExpositionError, match=r"^line 3, 'b a d', is no sample$"):
        parse("x 1\n\nb a d\n")


def test_ordinary_comments_and_blank_lines_are_nothing() -> None:
    assert samples("# a comment\n#\n\n  \nx 1\r\n# EOF\n") == ["x 1"]


@pytest.mark.parametrize(
    "text", ['x{a="' + "\\\\" * 500_000 + '" 1', "x{" + 'a="b",' * 150_000 + " 1", "x 1" + " " * 1_000_000 + "y"]
)
@pytest.mark.timeout(10)
def test_a_megabyte_made_to_backtrack_does_not(text: str) -> None:
    with pytest.raises(ExpositionError):
        parse(text)


@given(st.text(alphabet=st.sampled_from('ax_{}=",\\\n# 1\r\u2028\x0bHELPTY')))
def test_no_page_can_add_a_line_that_lacks_the_agent_s_labels(text: str) -> None:
    try:
        families = parse(text, LABELS)
    except ExpositionError:
        return
    for line in render(families).decode().removesuffix("\n").split("\n"):
        assert not line or line.startswith(("# HELP ", "# TYPE ")) or 'agent_id="a",instance_id="i1"' in line


@given(st.dictionaries(st.sampled_from(["a", "le", "agent_id"]), st.text(), max_size=3))
def test_label_values_survive_as_prometheus_client_reads_them(labels: dict[str, str]) -> None:
    family = Family("x", "gauge", "Help.")
    family.add(1, **labels)
    text = render(parse(render([family]).decode())).decode()
    (read,) = text_string_to_metric_families(text)
    assert read.samples[0].labels == labels


def test_families_without_help_get_one_and_without_samples_go() -> None:
    assert page(parse("# TYPE nothing gauge\nx 1\n")) == [
        "# HELP x No help text was given.",
        "# TYPE x untyped",
        "x 1",
    ]


def test_one_metric_of_many_pages_is_one_family() -> None:
    pages = [
        sections("# TYPE x counter\nx 1", {"agent_id": "a"}),
        sections("# HELP x Help.\n# TYPE x counter\nx 2", {"agent_id": "b"}),
    ]
    families, dropped = merge([], pages, exclusive=())
    assert page(families) == [
        "# HELP x Help.",
        "# TYPE x counter",
        'x{agent_id="a"} 1',
        'x{agent_id="b"} 2',
    ]
    assert dropped == [0, 0]


def test_the_type_that_most_pages_give_wins_and_the_rest_of_a_page_stays() -> None:
    pages = [
        sections("# TYPE x gauge\nx 1\ny 1", {"agent_id": "liar"}),
        sections("# TYPE x counter\nx 2", {"agent_id": "b"}),
        sections("# TYPE x counter\nx 3", {"agent_id": "c"}),
    ]
    families, dropped = merge([], pages, exclusive=())
    lines = page(families)
    assert "# TYPE x counter" in lines and 'x{agent_id="b"} 2' in lines and 'y{agent_id="liar"} 1' in lines
    assert not any(line.startswith('x{agent_id="liar"}') for line in lines)
    assert dropped == [1, 0, 0]


def test_a_metric_named_like_part_of_a_histogram_goes() -> None:
    own = parse('# TYPE x histogram\nx_bucket{le="+Inf"} 1\nx_count 1\nx_sum 1')
    families, dropped = merge(own, [sections("x_count 7\nz 1", {"agent_id": "a"})], exclusive=())
    assert [family.name for family in families] == ["x", "z"]
    assert dropped == [1]


def test_only_the_manager_adds_to_exclusive_families() -> None:
    own = parse("# TYPE agent_up gauge\nagent_up 0\n# TYPE process_x gauge\nprocess_x 1")
    agent = sections("# TYPE agent_up gauge\nagent_up 1\n# TYPE process_x gauge\nprocess_x 2", {"agent_id": "a"})
    families, dropped = merge(own, [agent], exclusive={"agent_up"})
    assert dropped == [1]
    assert [line for line in page(families) if not line.startswith("#")] == [
        "agent_up 0",
        "process_x 1",
        'process_x{agent_id="a"} 2',
    ]
