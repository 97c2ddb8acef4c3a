"""Files whose content is known by its SHA-256, so that any sound copy will do."""

import gzip
import hashlib
import os
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path


def verified(content: bytes, digest: str, what: Path | str) -> bytes:
    """``content``, if its SHA-256 is ``digest``; else ``ValueError`` names ``what``."""
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ValueError(f"{what} has SHA-256 {found}, expected {digest}")
    return content


def sound_copy(paths: Iterable[Path], digest: str) -> tuple[bytes | None, list[str]]:
    """The content of the first path that has the SHA-256, and what others have instead.

    Of a path that ends in ``.gz`` the content is what it unpacks to. The content is
    None where no path has it. Damaged copies before a sound one are reported on stderr.
    """
    faults: list[str] = []
    for path in paths:
        if os.path.exists(path):  # also false where the folder may not be read
            try:
                content = verified(_unpacked(path), digest, path)
            except ValueError as error:
                faults.append(str(error))
                continue
            if faults:
                print(f"{'; '.join(faults)}; {path} is used instead", file=sys.stderr)
            return content, faults
    return None, faults


def _unpacked(path: Path) -> bytes:
    """The content of a file; ``ValueError`` where it has none that can be read."""
    try:
        content = path.read_bytes()
        if not content:
            raise ValueError(f"{path} is empty")
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except EOFError as error:
        raise ValueError(f"{path} is truncated") from error
    except (OSError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
        raise ValueError(f"{path} can't be read: {error}") from error


def from_hub(name: str, kind: str, revision: str, files: Iterable[str]) -> Path:
    """The folder with files of a repository of the Hub, from its cache if offline."""
    from huggingface_hub import constants, get_session, snapshot_download

    try:
        # Without this look the Hub's client tries for half a minute before it gives up.
        get_session().head(constants.ENDPOINT, timeout=5)
        offline = False
    except Exception:
        offline = True
    folder: str = snapshot_download(
        name,
        repo_type=kind,
        revision=revision,
        allow_patterns=[*files],
        local_files_only=offline,
    )
    return Path(folder)
