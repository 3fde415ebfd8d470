"""axe-core in a page: whether anything keeps people with a disability out of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

SCRIPT = Path(sys.prefix) / "axe" / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """async (tags) => {
  const { violations } = await axe.run(document, { runOnly: { type: "tag", values: tags } });
  return violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.target.join(" ")}: ${node.failureSummary}`));
}"""


def axe(page: Page) -> None:
    """Assert that axe finds nothing wrong with the page as it stands."""
    assert SCRIPT.exists(), f"The full profile needs {SCRIPT}: run ./scripts/install-full."
    # Not as a script of the page: its policy would refuse that, rightly.
    page.evaluate(SCRIPT.read_text(encoding="utf-8"))
    violations = page.evaluate(RUN, TAGS)
    assert not violations, "\n".join(violations)
