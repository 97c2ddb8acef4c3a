"""Files whose content is known by its SHA-256, so that any sound copy will do."""

import gzip
import hashlib
import os
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TypeVar

PATIENCE = 60.0  # seconds without a byte, after which a download is given up
Result = TypeVar("Result")


def verified(content: bytes, digest: str, what: Path | str) -> bytes:
    """``content``, if its SHA-256 is ``digest``; else ``ValueError`` names ``what``."""
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ValueError(
            f"{what} has SHA-256 {found}, expected {digest}, that of the published one"
        )
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
    """The folder with files of a repository of the Hub, from its cache if it is there.

    What broke off goes on from where it was, by the Hub's client. Raises
    ``ConnectionError`` where the Hub does not give them.
    """
    from huggingface_hub import constants, get_session, hf_hub_download

    names = [*files]
    # Else it asks the Hub even where it is told to look on the disk alone.
    constants.HF_HUB_DISABLE_TELEMETRY = True

    def found(offline: bool) -> Path:
        for file in names:
            path = hf_hub_download(
                *(name, file),
                repo_type=kind,
                revision=revision,
                local_files_only=offline,
            )
        return Path(path).parents[file.count("/")]

    def asked() -> Path:
        # Without this look the Hub's client tries for half a minute before it gives up.
        status = get_session().head(constants.ENDPOINT, timeout=5).status_code
        if status >= 500:
            raise ConnectionError(f"it answers {status}")
        return found(offline=False)

    try:
        return found(offline=True)
    except Exception:
        try:
            return patiently(asked, Path(constants.HF_HOME))
        except Exception as error:
            raise ConnectionError(f"{constants.ENDPOINT}: {line(error)}") from error


def patiently(action: Callable[[], Result], folder: Path) -> Result:
    """What an action gives that downloads to a folder.

    It runs in a thread, which is left behind where for ``PATIENCE`` seconds nothing has
    come: who waits for a name server can't be interrupted. Raises ``TimeoutError``
    then, and else what the action raises.
    """
    future: Future[Result] = Future()

    def act() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=act, daemon=True).start()
    size, since = -1, time.monotonic()
    while not wait([future], timeout=min(1.0, PATIENCE)).done:
        now = _size(folder)
        if now != size:
            size, since = now, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            raise TimeoutError(f"nothing came for {PATIENCE:.0f} seconds")
    return future.result()


def _size(folder: Path) -> int:
    """The bytes of all files in a folder, while files come and go."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def reserve(path: Path, size: int, what: str) -> None:
    """Have the disk keep room, ``size`` bytes, for a file that is mapped to memory.

    Without that, who writes there to a full disk is ended without a word. What the file
    holds is left as it is. Raises ``OSError`` that names ``what`` needs the room, where
    there is none.
    """
    if not hasattr(os, "posix_fallocate"):  # as on macOS
        return
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "ab") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if new:
            path.unlink()
        free = shutil.disk_usage(path.parent).free
        raise OSError(
            error.errno,
            f"{error.strerror}: {what} need {size:,} bytes, and {free:,} are free",
            str(path),
        ) from error


def line(error: BaseException) -> str:
    """What an error says, in one line that is not long."""
    return f"{' '.join(str(error).split()) or type(error).__name__:.300}"
