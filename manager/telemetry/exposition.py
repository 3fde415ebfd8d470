"""The Prometheus text format, version 0.0.4: pages parsed, labelled and merged into one.

What other processes say is believed only after it has been parsed as strictly as Prometheus's own parser does
it: nothing that a page contains can add a line, a type or a label of its own to another page's.

prometheus_client's parser is laxer than that, as it says itself, and needs three times the CPU for a fleet of 200
agents; here one regular expression per line does it, without backtracking.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_METRIC_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*+"
_LABEL_NAME = r"[a-zA-Z_][a-zA-Z0-9_]*+"
_LABEL_VALUE = r'[^"\\]*+(?:\\[\\n"][^"\\]*+)*+'
_LABEL = rf'[ \t]*+{_LABEL_NAME}[ \t]*+=[ \t]*+"{_LABEL_VALUE}"[ \t]*+'
_LABELS = rf"(?:{_LABEL}(?:,|(?=\}})))*+[ \t]*+"
_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?[Ii]nf|[Nn]a[Nn]"

_LABEL_PATTERN = re.compile(rf'({_LABEL_NAME})[ \t]*+=[ \t]*+"({_LABEL_VALUE})"')
_NUMBER_PATTERN = re.compile(_NUMBER)
_SAMPLE_PATTERN = re.compile(
    rf"({_METRIC_NAME})[ \t]*+(?:\{{({_LABELS})\}})?[ \t]*+((?:{_NUMBER})(?:[ \t]+-?[0-9]{{1,18}})?)"
)
_COMMENT_PATTERN = re.compile(rf"#[ \t]*+(HELP|TYPE)[ \t]++({_METRIC_NAME})(?:[ \t]++(.*))?")
_DECLARATION_PATTERN = re.compile(r"#[ \t]*+(?:HELP|TYPE)(?:[ \t]|$)")
_HELP_PATTERN = re.compile(r"[^\\]*+(?:\\[\\n][^\\]*+)*+")

# What a sample of each type may add to its family's name, and which label must then be a number.
_SUFFIXES = {
    "counter": ("",),
    "gauge": ("",),
    "untyped": ("",),
    "summary": ("", "_sum", "_count"),
    "histogram": ("_bucket", "_sum", "_count"),
}
_NUMERIC_LABEL = {"summary": "quantile", "histogram": "le"}
_NO_HELP = "No help text was given."


class ExpositionError(ValueError):
    """A page is not in the text format; the message says which line, and what is wrong with it."""


class Section(NamedTuple):
    """A family of one page as it goes onto another: all its samples, as text of so many lines."""

    name: str
    kind: str
    help: str
    lines: int
    text: str


@dataclass
class Family:
    """All samples of one metric: `name{labels}` → `value` or `value timestamp`, as they stand on the page.

    `added`: samples of other pages, as text.
    """

    name: str
    kind: str
    help: str = ""
    samples: dict[str, str] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)

    @property
    def sample_names(self) -> frozenset[str]:
        """Every name that Prometheus takes for this family's."""
        return frozenset({self.name, *(self.name + suffix for suffix in _SUFFIXES[self.kind])})

    def add(self, value: float, **labels: str) -> None:
        """One sample of the family's own name."""
        self.samples[_series(self.name, ((name, escape(text)) for name, text in labels.items()))] = repr(value)

    def text(self) -> str:
        """Its samples as lines of a page."""
        own = [f"{series} {value}\n" for series, value in self.samples.items()]
        return "".join([*own, *self.added])

    def section(self) -> Section:
        """It as it goes onto another page."""
        return Section(self.name, self.kind, self.help, len(self.samples), self.text())


def escape(text: str) -> str:
    """`text` as it stands between the quotes of a label value."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def render(families: Iterable[Family]) -> bytes:
    """The page; a family without samples is left out."""
    texts = [(family, text) for family in families if (text := family.text())]
    return "".join(
        [
            f"# HELP {family.name} {family.help or _NO_HELP}\n# TYPE {family.name} {family.kind}\n{text}"
            for family, text in texts
        ]
    ).encode()


def parse(page: str, labels: Mapping[str, str] | None = None) -> list[Family]:
    """The page's families, each series with `labels` added; a label of that name becomes `exported_…`.

    OpenMetrics' `_created` series are left out: Prometheus' text format has no place for them.
    Of several samples of one series the last stays. Raises ExpositionError.
    """
    parser = _PageParser({name: escape(value) for name, value in (labels or {}).items()})
    for number, line in enumerate(page.split("\n"), start=1):
        try:
            parser.take(line.strip(" \t\r"))
        except ExpositionError as error:
            raise ExpositionError(f"line {number}, {line[:80]!r}, {error}") from None
    return parser.families()


def merge(
    own: Sequence[Family], pages: Sequence[Sequence[Section]], *, exclusive: Collection[str]
) -> tuple[list[Family], list[int]]:
    """One list of families out of all, and how many samples of each page had to be dropped.

    The pages' series differ from each other's and from the manager's by the labels that they were parsed with.

    A family that contradicts another (same name and other type, or `x_count` beside a histogram `x`) cannot
    stand on one page with it. The manager's `own` always stands, then what most pages say, so that one agent
    cannot push the others' off the page; to the families in `exclusive` no page adds anything.
    """
    merged = {family.name: family for family in own}
    claimed = {name for family in own for name in family.sample_names}
    votes = Counter((section.name, section.kind) for page in pages for section in page)
    for (name, kind), _ in votes.most_common():
        candidate = Family(name, kind)
        if claimed.isdisjoint(candidate.sample_names):
            claimed |= candidate.sample_names
            merged[name] = candidate
    return list(merged.values()), [_join(page, merged, exclusive) for page in pages]


def _join(page: Sequence[Section], merged: Mapping[str, Family], exclusive: Collection[str]) -> int:
    dropped = 0
    for section in page:
        home = merged.get(section.name)
        if home is None or home.kind != section.kind or home.name in exclusive:
            dropped += section.lines
        else:
            home.added.append(section.text)
            home.help = home.help or section.help
    return dropped


def _series(name: str, labels: Iterable[tuple[str, str]]) -> str:
    text = ",".join([f'{label}="{value}"' for label, value in labels])
    return f"{name}{{{text}}}" if text else name


def _is_number(text: str) -> bool:
    """Whether Go's `strconv.ParseFloat` takes it: out of range is an error there."""
    return _NUMBER_PATTERN.fullmatch(text) is not None and _in_range(text)


def _in_range(number: str) -> bool:
    return not math.isinf(float(number)) or number.endswith("f")


class _PageParser:
    """One page, line by line."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = labels
        self._families: dict[str, Family] = {}
        self._owners: dict[str, Family] = {}
        self._typed: set[str] = set()

    def take(self, line: str) -> None:
        if line.startswith("#"):
            self._take_comment(line)
        elif line:
            self._take_sample(line)

    def families(self) -> list[Family]:
        return [family for family in self._families.values() if not self._is_created(family)]

    def _take_comment(self, line: str) -> None:
        match = _COMMENT_PATTERN.fullmatch(line)
        if match is None:
            if _DECLARATION_PATTERN.match(line):
                raise ExpositionError("declares no valid metric name")
            return
        token, name, text = match.groups(default="")
        if token == "HELP":
            self._take_help(name, text)
        else:
            self._take_type(name, text)

    def _take_help(self, name: str, text: str) -> None:
        if _HELP_PATTERN.fullmatch(text) is None:
            raise ExpositionError(r"has an escape other than \\ and \n")
        family = self._families.get(name) or self._open(Family(name, "untyped"))
        if family.help:
            raise ExpositionError("is a second HELP of this metric")
        family.help = text

    def _take_type(self, name: str, kind: str) -> None:
        if kind not in _SUFFIXES:
            raise ExpositionError(f"has a type other than {', '.join(_SUFFIXES)}")
        family = self._families.get(name)
        if name in self._typed or (family is not None and family.samples):
            raise ExpositionError("is a second TYPE of this metric, or comes after its samples")
        self._typed.add(name)
        self._open(Family(name, kind, family.help if family else ""))

    def _open(self, family: Family) -> Family:
        for name in family.sample_names:
            if self._owners.get(name, family).name != family.name:
                raise ExpositionError(f"contradicts the metric {self._owners[name].name}")
            self._owners[name] = family
        self._families[family.name] = family
        return family

    def _take_sample(self, line: str) -> None:
        match = _SAMPLE_PATTERN.fullmatch(line)
        if match is None:
            raise ExpositionError("is no sample")
        name, labels, value = match.groups(default="")
        if not _in_range(value.split(None, 1)[0]):
            raise ExpositionError("has a value out of range")
        family = self._owners.get(name) or self._open(Family(name, "untyped"))
        pairs = _LABEL_PATTERN.findall(labels) if labels else []
        self._check_labels(family, pairs)
        family.samples[_series(name, self._relabel(pairs))] = value

    def _check_labels(self, family: Family, pairs: Sequence[tuple[str, str]]) -> None:
        if not pairs:
            return
        names = {name for name, _ in pairs}
        if len(names) < len(pairs) or "__name__" in names:
            raise ExpositionError("has a label twice, or the reserved label __name__")
        numeric = _NUMERIC_LABEL.get(family.kind)
        if numeric in names and not _is_number(dict(pairs)[numeric]):
            raise ExpositionError(f"has a label {numeric} that is no number")

    def _relabel(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Sorted, so that two spellings of one series are one; the page's own labels first."""
        taken = {name for name, _ in pairs}
        if not taken.isdisjoint(self._labels):
            pairs = [(self._exported(name, taken), value) for name, value in pairs]
        return [*self._labels.items(), *sorted(pairs)]

    def _exported(self, name: str, taken: set[str]) -> str:
        """As Prometheus does it with `honor_labels: false`."""
        if name not in self._labels:
            return name
        while name in taken or name in self._labels:
            name = f"exported_{name}"
        taken.add(name)
        return name

    def _is_created(self, family: Family) -> bool:
        base = family.name.removesuffix("_created")
        return base != family.name and (base in self._families or f"{base}_total" in self._families)
