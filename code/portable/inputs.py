"""What the result of executing a chapter depends on.

Known beforehand (``key``): its cells and inline expressions, but not its prose; what
the code does that they name, as ``recorded`` describes it; the installed packages,
Python, the machine, and the variables of the environment that libraries heed. Known
only afterwards (``content``): the files of the project that the cells read, such as
records, and modules whose source they show.
"""

import functools
import hashlib
import json
import os
import platform
import re
import site
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from portable.chapter import Piece, expressions
from recorded.provenance import digest, effects

# On them depend the last digits of sums, how numbers are written, how figures look.
VARIABLES = re.compile(
    r"(OMP|MKL|OPENBLAS|TORCH|CUDA|MPL|LC)[A-Z_]*|LANG|TZ"
    r"|PYTHON(HASHSEED|OPTIMIZE|WARNINGS|UTF8|DEVMODE)"
)
HERE = Path(__file__).parent
OWN = ("execute.py", "reads.py", "shown.py")  # the files here on which a result depends


def key(root: Path, pieces: list[Piece]) -> str:
    """The SHA-256 of all that is known beforehand of what a chapter's result rests on.

    Raises ``SyntaxError`` where a cell is more than Python, and ``ValueError`` where it
    names code of the project that can't be followed (see ``recorded.provenance``).
    """
    executed = [texts for piece in pieces if (texts := expressions(piece))]
    script = "\n".join(text for texts in executed for text in texts)
    places = _places(root)
    code, data = effects(script, _finder(places))
    infos = (path.name for place in places for path in Path(place).glob("*-info"))
    return digest(
        {
            "executed": executed,
            "code": code,
            "data": data,
            "packages": sorted(set(infos)),  # their folders, with name and version
            "python": sys.version,
            "machine": [platform.machine(), platform.system(), os.cpu_count()],
            "variables": {
                name: value
                for name, value in sorted(os.environ.items())
                if VARIABLES.fullmatch(name)
            },
            "portable": [
                digest((HERE / name).read_text(encoding="utf-8")) for name in OWN
            ],
        }
    )


def content(root: Path, reads: dict[str, list[str]]) -> dict[str, str | None]:
    """What stands in the files and folders that were read (``reads.watch``).

    By the path in ``root``: the SHA-256 of a file, or of the names in a folder without
    hidden ones; None where nothing is there.
    """
    found: dict[str, str | None] = {}
    for name in reads["files"]:
        path = root / name
        found[name] = sha256(path) if path.is_file() else None
    for name in reads["folders"]:
        path = root / name
        names = sorted(os.listdir(path)) if path.is_dir() else []
        shown = [name for name in names if not name.startswith((".", "__pycache__"))]
        found[f"{name}/"] = digest(shown) if path.is_dir() else None
    return found


def changed_since(root: Path, reads: dict[str, list[str]], moment: float) -> bool:
    """Whether a file that was read was written after a moment, in seconds since 1970.

    Then it is not known what was read of it.
    """
    paths = [root / name for name in reads["files"]]
    states = [path.stat() for path in paths if path.exists()]
    return any(max(state.st_mtime, state.st_ctime) > moment for state in states)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _finder(places: list[str]) -> Callable[[str], ModuleSpec | None]:
    """Where a package or module is that is neither Python's nor an installed one."""
    installed = _installed()

    def find(name: str) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, places)
        if spec is None:
            return None
        at = Path([*(spec.submodule_search_locations or []), spec.origin or ""][0])
        own = not any(at.is_relative_to(folder) for folder in installed)
        return spec if own else None

    return find


@functools.cache
def _installed() -> set[str]:
    """The folders of Python's modules and of the installed ones."""
    paths = sysconfig.get_paths()
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    found = {*(paths[name] for name in names), *site.getsitepackages()}
    return found | {site.getusersitepackages()}


@functools.cache
def _places(root: Path) -> list[str]:
    """The folders in which a kernel that runs in ``root`` looks for modules."""
    done = subprocess.run(
        [sys.executable, "-c", "import json, sys; print(json.dumps(sys.path))"],
        cwd=root,
        capture_output=True,
        encoding="utf-8",
        check=True,
        start_new_session=True,  # Ctrl-C is for this process, not for that
    )
    return [str(root / place) for place in json.loads(done.stdout)]
