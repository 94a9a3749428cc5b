"""What the code rests on is written down: every citation of docs/facts.md names a section that it has."""

import re
from pathlib import Path

from tests.contract.test_frame import committed

# "(docs/facts.md: client ids)"; the name may be broken over two lines, the second with its comment sign.
CITATION = re.compile(r"docs/facts\.md: ([a-z]+(?:\s+(?:# )?[a-z]+)*)[,.;)]")
LINK = re.compile(r"facts\.md#([a-z-]+)")
OTHER_NOTES = re.compile(r"\bfacts: [a-z]+\b(?=[^\n]*\))|\(facts on |\bfacts/[a-z]+")


def sections(repository: Path) -> list[str]:
    return re.findall(r"^## (.+)$", (repository / "docs/facts.md").read_text(encoding="utf-8"), re.MULTILINE)


def texts(repository: Path, *patterns: str) -> dict[str, str]:
    """What is under version control, without this test."""
    files = committed(repository, *patterns)
    return {str(file): file.read_text(encoding="utf-8") for file in files if file != Path(__file__)}


def test_every_citation_names_a_section(repository: Path) -> None:
    known = {name.lower() for name in sections(repository)}
    cited = 0
    for file, text in texts(repository, "*.py").items():
        named = [re.sub(r"\s+(# )?", " ", name) for name in CITATION.findall(text)]
        assert len(named) == text.count("facts.md"), f"{file} cites docs/facts.md without naming a section"
        assert set(named) <= known, file
        cited += len(named)
    assert cited > 0


def test_every_link_to_a_section_finds_it(repository: Path) -> None:
    anchors = {name.lower().replace(" ", "-") for name in sections(repository)}
    for file, text in texts(repository, "*.md").items():
        assert set(LINK.findall(text)) <= anchors, file


def test_nothing_cites_notes_that_the_repository_does_not_hold(repository: Path) -> None:
    assert [file for file, text in texts(repository, "*.py", "*.md").items() if OTHER_NOTES.search(text)] == []
