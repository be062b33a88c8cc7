"""The notes are quoted whole and in order, each sentence leads to a claim, and every page links to them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTES = ROOT / "docs" / "notes.md"
SOURCE = (
    ROOT.parent / "shared" / "notes.txt"
)  # beside a checkout where there is one; it is not ours to publish
PAGES = [
    page
    for page in (
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted(ROOT.glob("results/*/README.md")),
    )
    if page != NOTES
]
SENTENCES = 14
CHINESE = r"[\u4e00-\u9fff]"
CODE = r"```.*?```|^ {4}.*?$|`[^`\n]*`"


def quotes(page: str) -> list[str]:
    """Each block of quoted lines of a page, without its marks and line breaks."""
    blocks = re.findall(r"(?:^> .*\n)+", page, re.MULTILINE)
    return ["".join(line.removeprefix("> ") for line in block.splitlines()) for block in blocks]


def sections(page: str) -> list[str]:
    """What stands under each numbered heading of a page."""
    return re.findall(r"^### \d+\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)


def unlinked(page: str, folder: Path) -> str | None:
    """The line of the first "the notes" in the prose of a page with no link to NOTES at it or before it.

    A heading is no place for a link, so the first mention under one counts. None: there is a link, or
    nothing to link.
    """
    prose = re.sub(CODE, "", page, flags=re.DOTALL | re.MULTILINE)
    heading = re.compile(r"^#.*$", re.MULTILINE)
    mentioned = "the notes" in prose.lower()
    body = heading.sub("", prose)
    first = re.search(r"the notes", body, re.IGNORECASE)
    for link in re.finditer(r"\[[^\[\]]*\]\(([^)#]*notes\.md)[^)]*\)", body):
        if (folder / link[1]).resolve() == NOTES and (first is None or link.start() <= first.start()):
            return None
    if not mentioned:
        return None
    return "in a heading alone" if first is None else body[first.start() :].splitlines()[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_that_speaks_of_the_notes_links_to_them(page: Path) -> None:
    assert NOTES.exists()
    assert unlinked(page.read_text(), page.parent) is None


def test_pages_that_speak_of_the_notes_are_there_to_be_checked() -> None:
    assert sum("the notes" in page.read_text().lower() for page in PAGES) >= 3


@pytest.mark.parametrize(
    ("page", "line"),
    [
        ("By the notes.", "the notes."),
        ("By [The notes](notes.md) and the notes' unit.", None),
        ("[Where from](notes.md#1): the notes.", None),
        ("By the notes, see [them](notes.md).", "the notes, see [them](notes.md)."),
        ("By [the notes](../notes.md).", "the notes](../notes.md)."),
        ("# The notes\n\nBy [the notes](notes.md).", None),
        ("# The notes\n\nNothing.", "in a heading alone"),
        ("`the notes`\n```\nthe notes\n```\n", None),
    ],
)
def test_a_page_without_its_link_is_seen(page: str, line: str | None) -> None:
    assert unlinked(page, ROOT / "docs") == line


def test_every_sentence_is_quoted_once_translated_and_led_to_a_claim() -> None:
    parts = sections(NOTES.read_text())
    assert len(parts) == len(quotes(NOTES.read_text())) == SENTENCES
    for part in parts:
        (quote,) = quotes(part)
        assert re.search(CHINESE, quote)
        translation, *words = re.sub(r"(?:^> .*\n)+", "", part, flags=re.MULTILINE).strip().split("\n\n")
        assert not re.search(CHINESE, translation)
        assert translation.endswith((".", "?"))
        assert re.search(r"\*Leads to C\d+\*|\*No claim\*", "\n\n".join(words)), part


def test_the_table_of_claims_is_that_of_the_sentences() -> None:
    page = NOTES.read_text()
    table = {
        claim: {int(number) for number in numbers.split(",")}
        for claim, numbers in re.findall(r"^\| (C\d+) \|.*\| ([\d, ]+) \|$", page, re.MULTILINE)
    }
    assert list(table) == [f"C{number}" for number in range(1, 11)]
    led: dict[str, set[int]] = {claim: set() for claim in table}
    for number, part in enumerate(sections(page), start=1):
        for claim in re.findall(r"\*Leads to (C\d+)\*", part):
            led[claim].add(number)
    assert led == table


def test_the_quotes_are_the_whole_text_in_its_order() -> None:
    """Title, sentences and code, without white space, and every address; the rest of the file is about it."""
    if not SOURCE.exists():
        pytest.skip("the text itself is not in the repository: needs ../shared/notes.txt beside the checkout")

    def bare(text: str) -> str:
        return re.sub(r"\s", "", text)

    page, text = NOTES.read_text(), SOURCE.read_text()
    prose, code = re.split(
        r"^(?=nn\.)", text.partition(")\n")[2].rpartition("\n(")[0], maxsplit=1, flags=re.MULTILINE
    )
    title = re.search(rf"\*\*({CHINESE}+)\*\*", page)
    assert title
    assert bare(prose) == bare(title[1] + "".join(quotes(page)))
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert block.strip() == code.strip()
    for address in re.findall(r"https?://[^\s,)]+", text):
        assert f"<{address}>" in page
