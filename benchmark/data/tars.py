"""Files inside plain tars (shards in WebDataset convention), found by one pass over the headers and read when needed.

A tar comes from outside: nothing of it is written to disk, a member is read only if it is a plain file inside the tar
and no larger than any image should be, and every fault names the shard.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from webdataset.tariterators import group_by_keys

from benchmark.errors import UserError

LARGEST_MEMBER = 1 << 26  # bytes: above any photograph of the pixels that decode.py allows

_END = bytes(1024)  # two zero blocks close every complete tar
_PADDING = 1 << 16  # bytes: more than any tar has after that


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a tar: `size` bytes from `offset` on."""

    name: str
    tar: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """OSError when the tar is gone or has become shorter."""
        with self.tar.open("rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise OSError(f"{self.tar} has become shorter")
        return content


def samples(tar: Path, advice: str) -> Iterator[dict]:
    """The tar's samples as webdataset groups them: {"__key__": key, ending: Member, ...}, in the order of the tar.

    advice: what to do about a tar that is damaged. UserError for one that is truncated, damaged, not plain (compressed
    or sparse) or holds a file larger than LARGEST_MEMBER.
    """
    try:
        _check_end(tar, advice)
        files = ({"fname": name, "data": member, "__url__": str(tar)} for name, member in _members(tar, advice))
        yield from group_by_keys(files)
    except UserError:
        raise
    except Exception as error:  # tarfile's and webdataset's own errors, all about this tar
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{tar}: damaged shard ({reason}); {advice}") from error


def _check_end(tar: Path, advice: str) -> None:
    """A tar cut between two members reads without complaint: only its missing end gives it away."""
    with tar.open("rb") as file:
        file.seek(max(0, tar.stat().st_size - len(_END)))
        if file.read() != _END:
            raise UserError(f"{tar}: truncated shard; {advice}")


def _members(tar: Path, advice: str) -> Iterator[tuple[str, Member]]:
    with tarfile.open(tar, mode="r:") as archive:
        for info in archive:
            archive.members = []  # which tarfile would keep
            if not info.isreg() or info.name.startswith("__"):  # webdataset's own notes
                continue
            if info.issparse() or info.size > LARGEST_MEMBER:
                raise UserError(
                    f"{tar}: {info.name} is {'sparse' if info.issparse() else f'{info.size} bytes large'}, "
                    f"no image or label of up to {LARGEST_MEMBER} bytes"
                )
            yield info.name, Member(info.name, tar, info.offset_data, info.size)
        # tarfile takes a broken header for the end of the tar.
        archive.fileobj.seek(archive.offset)
        if any(archive.fileobj.read(_PADDING)):
            raise UserError(f"{tar}: damaged shard (broken header at byte {archive.offset}); {advice}")
