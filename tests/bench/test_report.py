"""The page's marked section is rewritten, and nothing around it."""

import pytest
from bench import report
from bench.report import BEGIN, END, rewrite


def test_only_what_is_between_the_marks_changes() -> None:
    """The text that people wrote stays as they wrote it."""
    page = f"# Title\n\ntext\n\n{BEGIN}\n\nold | figures\n\n{END}\n\nmore text\n"
    fresh = rewrite(page, "new figures\n")
    assert fresh == f"# Title\n\ntext\n\n{BEGIN}\n\nnew figures\n\n{END}\n\nmore text\n"
    assert rewrite(fresh, "new figures") == fresh


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}\n{BEGIN}"], ids=["none", "begin", "end", "turned"])
def test_a_page_without_its_marks_is_refused(page: str) -> None:
    """Figures are not put just anywhere."""
    with pytest.raises(ValueError, match="the page has no"):
        rewrite(page, "figures")


def test_the_real_page_has_its_marks() -> None:
    """docs/performance.md can be rewritten."""
    page = report.PAGE.read_text(encoding="utf-8")
    assert rewrite(page, "figures").count(BEGIN) == 1


def test_without_results_no_figure_appears() -> None:
    """A page says that nothing was measured rather than show a figure."""
    assert report.section(None, None, None) == "Nothing has been measured yet."
