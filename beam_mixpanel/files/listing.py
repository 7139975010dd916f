"""Which files names and globs mean, and what is told when one cannot be read: nothing is skipped silently."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeVar

from apache_beam.io.filesystem import CompressionTypes, FileSystem
from apache_beam.io.filesystems import FileSystems

from beam_mixpanel.errors import UnreadableFileError

_FIRST_WILDCARD: Final = re.compile(r"[*?\[]")
_THREADS: Final = 16
"""Looking at a file in a bucket is waiting, some 0.1 s each: in one step of one worker, it is done side by side."""

_Given = TypeVar("_Given")
_Found = TypeVar("_Found")


class InputFile(NamedTuple):
    """A file to read, and its size when it was listed."""

    path: str
    size_bytes: int


def in_threads(function: Callable[[_Given], _Found], items: Sequence[_Given]) -> Iterator[_Found]:
    """Apply a function that mostly waits to some items, and yield the results in order.

    The function must not count: Beam drops metrics of threads that are not its own, silently.
    """
    if len(items) < 2:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(min(_THREADS, len(items)), thread_name_prefix="look-at-files") as threads:
        yield from threads.map(function, items)


def match_files(pattern: str) -> list[InputFile]:
    """Find the files that a name or glob means, as Beam does: `*` stays in a folder, `**` does not.

    On this machine's file system nothing that matches is passed over: Beam would leave out links to files that do not
    exist, folders that cannot be listed, and folders behind links. A file whose name is the pattern itself is meant,
    too, whatever brackets and asterisks are in it.

    Raises:
      UnreadableFileError: nothing matches, or something that is not a file or cannot be looked at.
      ValueError: no file system is known for the pattern.
    """
    if FileSystems.get_scheme(pattern) is None and os.name == "posix":
        found = [InputFile(path, _size_of_local(path)) for path in _match_local(pattern)]
    else:
        try:
            listed = FileSystems.match([pattern])[0].metadata_list
        except OSError as error:
            raise UnreadableFileError(f"cannot look for {in_words(pattern)}: {error}") from error
        found = [InputFile(metadata.path, metadata.size_in_bytes) for metadata in listed]
    if not found:
        raise UnreadableFileError(f"no such file: {in_words(pattern)}")
    return found


def open_file(path: str) -> Any:
    """Open a file's bytes as they are stored.

    Raises:
      UnreadableFileError: it cannot be opened.
    """
    try:
        return FileSystems.open(path, "application/octet-stream", CompressionTypes.UNCOMPRESSED)
    except OSError as error:
        raise UnreadableFileError(f"cannot read {in_words(path)}: {error}") from error


def size_now(path: str) -> int:
    """Ask for a file's present size.

    Raises:
      OSError: it cannot be told.
    """
    return int(FileSystems.get_filesystem(path).size(path))


def in_words(path: str) -> str:
    """Name a file in a message, which has no room for newlines and the like."""
    if path.isprintable():
        return path
    return repr(path)


def _match_local(pattern: str) -> list[str]:
    if pattern.endswith("/"):
        pattern += "*"
    found = {pattern} if os.path.lexists(pattern) else set()
    wildcard = _FIRST_WILDCARD.search(pattern)
    if wildcard:
        found.update(_walk(pattern, os.path.dirname(pattern[: wildcard.start()])))
    return sorted(found)


def _walk(pattern: str, folder: str) -> Iterator[str]:
    """Give what matches under a folder, looking into no folder where nothing can."""
    matches = re.compile(_to_regex(pattern)).match
    deep = "**" in pattern
    for here, folders, files in os.walk(folder or ".", onerror=_raise_unlistable, followlinks=not deep):
        prefix = f"{here.rstrip('/')}/" if folder else f"{here}/"[2:]
        yield from filter(matches, (prefix + name for name in files))
        for path in [prefix + name for name in folders]:
            if matches(path) and (not deep or os.path.islink(path)):
                yield path
        if not deep:
            folders[:] = [name for name in folders if _may_hold(prefix + name, pattern)]


def _may_hold(folder: str, pattern: str) -> bool:
    """Tell whether a file in this folder, or below, can match a pattern in which every level is named."""
    levels = pattern.split("/")
    depth = folder.count("/") + 1
    return depth < len(levels) and bool(re.match(_to_regex("/".join(levels[:depth])), folder))


def _to_regex(pattern: str) -> str:
    r"""Translate a glob as Beam does, but that `*` also stands for a `\`, which is no separator here."""
    return str(FileSystem.translate_pattern(pattern)).replace(r"[^/\\]*", "[^/]*")


def _raise_unlistable(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):
        return
    raise UnreadableFileError(
        f"cannot list {in_words(str(error.filename))}: {error.strerror}; what is in it may match"
    ) from error


def _size_of_local(path: str) -> int:
    """Tell a file's size.

    Raises:
      UnreadableFileError: it is no file: opening a pipe would wait for ever, and a device may have no end.
    """
    name = in_words(path)
    try:
        path.encode()
        found = os.stat(path)
    except UnicodeEncodeError:
        raise UnreadableFileError(f"cannot read {name}: its name is not UTF-8; rename it") from None
    except OSError as error:
        why = "it is a link to a file that does not exist" if os.path.islink(path) else error.strerror
        raise UnreadableFileError(f"cannot read {name}: {why}") from error
    if stat.S_ISDIR(found.st_mode):
        raise UnreadableFileError(
            f"cannot read {name}: it is a folder; add /* to read its files, or narrow the glob, such as *.ndjson"
        )
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableFileError(
            f"cannot read {name}: it is a pipe, socket or device; write what it gives into a file first"
        )
    return found.st_size
