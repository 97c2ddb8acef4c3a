"""Reads the options of a cell, the lines at its head that begin with ``#|``."""

import re
from typing import Any

from portable import RenderError, values

# The cell options that are supported, with the type of their value.
OPTIONS: dict[str, type | tuple[type, ...]] = {
    "label": str,
    "fig-cap": str,
    "fig-subcap": list,
    "fig-alt": (str, list),
    "tbl-cap": str,
    "echo": bool,
    "output": bool,
    "include": bool,
    "warning": bool,
    "code-fold": (bool, str),
    "code-summary": str,
    "layout-ncol": int,
}
LINE = re.compile(r"#\s*\| ?")
LABEL = re.compile(r"[\w-]+(?:\.[\w-]+)*")


class Loader(values.Loader):
    """Takes numbers for numbers, too."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile("^[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789")
)


def read_options(heads: list[str], source: str, first: int) -> dict[str, Any]:
    """The options of a cell from their lines, the first of which is ``first``.

    Raises ``RenderError`` with file and line for what is not supported.
    """
    where = f"{source}:{first}"
    for number, line in enumerate(heads, first):
        if "\t" in line:
            raise RenderError(
                f"{source}:{number}: cell options: a tab, expected spaces"
            )
    try:
        loader = Loader("\n".join(LINE.sub("", line) for line in heads))
        node = loader.get_single_node()
        options = loader.construct_document(node) if node else {}
    except Exception as error:  # of a value with a tag PyYAML raises any
        raise RenderError(
            f"{where}: cell options: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(options, dict):
        raise RenderError(f"{where}: cell options are not `key: value` pairs")
    seen = set()
    for key, _ in node.value if node else []:
        name, here = key.value, f"{source}:{first + key.start_mark.line}"
        if name not in OPTIONS:
            raise RenderError(
                f"{here}: cell option {name!r} is not supported; supported are "
                f"{', '.join(OPTIONS)}"
            )
        if name in seen:
            raise RenderError(f"{here}: {name} is given twice")
        seen.add(name)
        value: Any = options[name]
        if not isinstance(value, OPTIONS[name]) or (
            isinstance(value, list) and not all(isinstance(of, str) for of in value)
        ):
            raise RenderError(f"{here}: {name} is {value!r}")
        if name == "code-fold" and value not in (True, False, "show"):
            raise RenderError(
                f"{here}: code-fold is {value!r}, expected true, false or show"
            )
        if name == "layout-ncol" and (value is True or options[name] < 1):
            raise RenderError(f"{here}: layout-ncol is {value!r}, expected 1 or more")
    _check_label(options, where)
    return options


def _check_label(options: dict[str, Any], where: str) -> None:
    """Stops at a label without its caption, a caption without label, odd labels."""
    label = str(options.get("label", ""))
    for prefix in ("fig", "tbl"):
        if not label.startswith(f"{prefix}-"):
            if f"{prefix}-cap" in options:
                raise RenderError(
                    f"{where}: a cell has a {prefix}-cap, expected a label that begins "
                    f"with {prefix}-, too"
                )
        elif f"{prefix}-cap" not in options:
            raise RenderError(f"{where}: label {label} has no {prefix}-cap")
        elif label != label.lower():
            raise RenderError(
                f"{where}: label {label!r} is changed by Quarto, expected small letters"
            )
    if label and not LABEL.fullmatch(label):
        raise RenderError(
            f"{where}: label {label!r} has more than letters, digits, - and _"
        )
