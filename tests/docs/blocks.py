"""The code blocks of the Markdown files, and the shell commands in them.

Comments before a block, which readers do not see, say what cannot be told from it:

- `<!-- file: NAME -->`: the block is a file, which is written into the folder where the page's commands run;
- `<!-- tested by PATH::NAME -->`: that test runs the block;
- `<!-- settings of Flink -->`: the block is configuration of Flink;
- `<!-- imports: N -->`: this block of Python imports so many events; one that says nothing imports at least one;
- `<!-- fails: TYPE: TEXT -->`: it raises an exception of that type, whose text holds TEXT;
- `<!-- writes: PATTERN -->`: it leaves files that match;
- `<!-- printed -->`: this block of text is what the block of Python before it prints.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "templates/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
    if "_generated" not in path.parts
)
ELISION = "…"
_FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,}) *(?P<info>[^`]*)")
_COMMENT = re.compile(r"\s*<!--\s*(?P<text>.*?)\s*-->\s*")
_HEREDOC = re.compile(r"cat *> *(?P<name>\S+) *<<-? *'?(?P<end>\w+)'?|cat *<<-? *'?(?P<end2>\w+)'? *> *(?P<name2>\S+)")
_REDIRECTIONS = frozenset({">", ">>", "<", ">&", "&>"})
_OPERATORS = frozenset({"&&", "||", ";", "|", "&"})
_SUBSTITUTION = re.compile(r"\$\([^()]*\)")
_ASSIGNMENT = re.compile(r"\w+=")


class Block(NamedTuple):
    """A fenced block.

    Attributes:
      page: its file, relative to the root.
      line: of its opening fence.
      language: the word after the fence; empty where there is none.
      text: what it holds, without the indent of its fence.
      comments: the HTML comments right before it.
    """

    page: Path
    line: int
    language: str
    text: str
    comments: tuple[str, ...]

    @property
    def place(self) -> str:
        """Where it is, as editors open it."""
        return f"{self.page}:{self.line}"

    def comment(self, key: str) -> str | None:
        """Give what a comment before the block says after `key`."""
        return next((text.removeprefix(key).strip() for text in self.comments if text.startswith(key)), None)


class Command(NamedTuple):
    """One command of a shell block: its words without redirections, and the variables set before it."""

    words: list[str]
    variables: dict[str, str]


def blocks_of(page: Path) -> list[Block]:
    """Give the fenced blocks of a page."""
    lines = (ROOT / page).read_text().splitlines()
    return list(_blocks(page, lines))


def block_tested_by(page: Path, test: str) -> Block:
    """Give the only block of a page whose comment names a test, such as `tests/test_package.py::test_x`."""
    [block] = [block for block in blocks_of(page) if block.comment("tested by ") == test]
    return block


def _blocks(page: Path, lines: list[str]) -> Iterator[Block]:
    comments: list[str] = []
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if opening := _FENCE.fullmatch(line):
            begin = number
            indent, fence = opening["indent"], opening["fence"]
            while number < len(lines) and lines[number].strip() != fence:
                number += 1
            text = "\n".join(inner.removeprefix(indent) for inner in lines[begin:number]) + "\n"
            yield Block(page, begin, opening["info"].strip(), text, tuple(comments))
            number += 1
            comments = []
        elif comment := _COMMENT.fullmatch(line):
            comments.append(comment["text"])
        elif line.strip():
            comments = []


def statements(text: str) -> Iterator[str | tuple[str, str]]:
    """Give the logical lines of a shell block; a file written by `cat > NAME <<END` is its name and content."""
    lines = iter(text.splitlines())
    for line in lines:
        if heredoc := _HEREDOC.search(line):
            end = heredoc["end"] or heredoc["end2"]
            content = "".join(f"{inner}\n" for inner in iter(lambda: next(lines), end))
            yield heredoc["name"] or heredoc["name2"], content
            continue
        while _is_open(line):
            following = next(lines, None)
            if following is None:
                break
            line = f"{line.removesuffix(chr(92))}{'' if line.endswith(chr(92)) else chr(10)}{following}"
        if line.strip():
            yield line


def _is_open(line: str) -> bool:
    if line.endswith("\\"):
        return True
    try:
        shlex.split(line, comments=True)
    except ValueError:
        return True
    return False


def commands(statement: str) -> Iterator[Command]:
    """Give the commands of a line: what stands between `|`, `&&`, `;` and so on."""
    lexer = shlex.shlex(_SUBSTITUTION.sub("SUBSTITUTED", statement), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word not in _OPERATORS:
            words.append(word)
        elif words:
            yield _command(words)
            words = []


def _command(words: list[str]) -> Command:
    kept: list[str] = []
    variables: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if word in _REDIRECTIONS:
            next(rest, None)
        elif not kept and _ASSIGNMENT.match(word):
            name, _, value = word.partition("=")
            variables[name] = value
        else:
            kept.append(word)
    return Command(kept, variables)
