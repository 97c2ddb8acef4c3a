"""What a student writes into ``_variables.yml`` is shown as it is written."""

import json
from pathlib import Path
from typing import Any

import pytest

from book.variables import FIELDS, Variables, literal, placeholders, read
from conftest import ROOT
from portable.chapter import INLINE, SHORTCODE
from portable.pandoc import pandoc

GOOD = {
    "author": "Ada Lovelace",
    "netid": "al123",
    "collaborators": "none",
    "course": "Deep Learning",
    "homework": "Homework 2",
    "due": "25 March 2024",
}


def written(folder: Path, **fields: str) -> Path:
    """A folder with the file, whose lines are ``fields`` in place of good ones."""
    lines = [f"{name}: {value}" for name, value in (GOOD | fields).items()]
    (folder / "_variables.yml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_the_file_of_the_project_is_read() -> None:
    found = read(ROOT)
    assert found.homework and found.course and found.due
    assert list(FIELDS) == [*vars(found)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0123", "0123"),
        ("2024-03-25", "2024-03-25"),
        ("yes", "yes"),
        ("1e3", "1e3"),
        ("12:30:45", "12:30:45"),
        ("null", "null"),
        ("José Núñez & Søn_1 100%#3", "José Núñez & Søn_1 100%#3"),
        ("a # not YAML's text", "a"),
        ('O\'Neill "Al" Smith', 'O\'Neill "Al" Smith'),
        ('"Ada: Countess"', "Ada: Countess"),
        ("'#1'", "#1"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("field", ["netid", "due"])
def test_a_value_is_taken_as_written(
    tmp_path: Path, field: str, text: str, value: str
) -> None:
    assert getattr(read(written(tmp_path, **{field: text})), field) == value


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("none", ()),
        ("", ()),
        ("[]", ()),
        ("[none]", ()),
        ("Grace Hopper", ("Grace Hopper",)),
        ("[Grace Hopper, 0123]", ("Grace Hopper", "0123")),
        ("\n  - Grace Hopper\n  - yes", ("Grace Hopper", "yes")),
    ],
)
def test_collaborators(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    assert read(written(tmp_path, collaborators=text)).collaborators == names


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"netid": "[ab1234]"},
            '_variables.yml:2: netid is a list, [ab1234], expected text, as in "netid: '
            'ab1234"',
        ),
        (
            {"author": "{first: Ada}"},
            "_variables.yml:1: author is a mapping, {first: Ada}, expected text, as in "
            '"author: Ada Lovelace"',
        ),
        (
            {"collaborators": "[Grace, [Alan]]"},
            "_variables.yml:3: collaborators is a list, [Alan], expected text or a "
            'list of texts, as in "collaborators: [Grace Hopper, Alan Turing]"',
        ),
        (
            {"collaborators": "\n  - Grace\n  - Alan: Turing"},
            "_variables.yml:5: collaborators is a mapping, Alan: Turing, expected text "
            'or a list of texts, as in "collaborators: [Grace Hopper, Alan Turing]"',
        ),
        (
            {"Author": "Ada"},
            "_variables.yml:7: Author is no field, those are author, netid, "
            "collaborators, course, homework, due, expected text, as in "
            '"author: Ada Lovelace"',
        ),
        (
            {"author": "Ada\nauthor: Grace"},
            "_variables.yml:2: author is there twice, expected text, as in "
            '"author: Ada Lovelace"',
        ),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, fields: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError) as error:
        read(written(tmp_path, **fields))
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("fields", "line", "shown"),
    [
        ({"author": "Ada: Countess"}, 1, "author: Ada: Countess"),
        ({"course": "@home"}, 4, "course: @home"),
        ({"due": '"25 March'}, 7, '"25 March'),  # the quote is open to the end
        ({"netid": "*ab"}, 2, "netid: *ab"),
        ({"homework": "a\x07b"}, 1, "author"),  # YAML says no line of a bad character
    ],
)
def test_what_is_no_yaml_is_shown(
    tmp_path: Path, fields: dict[str, str], line: int, shown: str
) -> None:
    with pytest.raises(ValueError) as error:
        read(written(tmp_path, **fields))
    message = str(error.value)
    assert message.startswith((f"_variables.yml:{line}: ", "_variables.yml:6: "))
    assert shown in message and "is not YAML; expected" in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["", "- author: Ada\n", "Ada"])
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "_variables.yml").write_text(text)
    with pytest.raises(
        ValueError, match=r'^_variables.yml:1: the file has no fields, .*"author: '
    ):
        read(tmp_path)


@pytest.mark.fault(
    "injection",
    provoked="A value in `_variables.yml` asks YAML to build an object, which runs a "
    "command.",
    result="Nothing is built or run: it is refused by file and line, or is text.",
    kept="The previous book.",
)
@pytest.mark.parametrize("field", ["author", "collaborators"])
def test_yaml_builds_no_object(tmp_path: Path, field: str) -> None:
    made = tmp_path / "made"
    call = f'!!python/object/apply:os.system ["touch {made}"]'
    new = f'!!python/object/new:os.system {{args: ["touch {made}"]}}'
    name = f'!!python/object/apply:os.system "touch {made}"'
    with pytest.raises(ValueError, match=r"^_variables\.yml:\d: author is a list"):
        read(written(tmp_path, author=call))
    with pytest.raises(ValueError, match=rf"^_variables\.yml:\d: {field} is a mapping"):
        read(written(tmp_path, **{field: new}))
    assert f"touch {made}" in getattr(read(written(tmp_path, **{field: name})), field)
    assert not made.exists()


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    path = written(tmp_path) / "_variables.yml"
    path.write_text(path.read_text().replace("due:", "# due:"))
    with pytest.raises(ValueError) as error:
        read(tmp_path)
    assert str(error.value) == (
        '_variables.yml:6: due is missing, expected text, as in "due: 25 March 2024"'
    )


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^_variables\.yml:1: can't be read"):
        read(tmp_path)
    (tmp_path / "_variables.yml").write_bytes("author: José".encode("latin-1"))
    with pytest.raises(ValueError, match=r"^_variables\.yml:1: can't be read"):
        read(tmp_path)


def test_placeholders_are_named(tmp_path: Path) -> None:
    assert placeholders(read(written(tmp_path))) == []
    fields = {"author": "Firstname Lastname", "netid": "ab1234", "due": '" "'}
    assert placeholders(read(written(tmp_path, **fields))) == [
        '_variables.yml: author is still "Firstname Lastname": write yours there',
        '_variables.yml: netid is still "ab1234": write yours there',
        "_variables.yml: due is empty: write yours there",
    ]
    assert placeholders(Variables("A", "b", (), "", "H", "d")) == [
        "_variables.yml: course is empty: write yours there"
    ]


NASTY = [
    "Ada Lovelace",
    "José Núñez & Søn_1 100% #3",
    "*a* _b_ **c** ~d~ ^e^ ~~f~~ `g` [h](i) ![j](k) [l]{.m}",
    "# A heading?",
    "- item",
    "+ item",
    "1. item",
    "(a) item",
    "> quote",
    ": definition",
    "| a | b |",
    "::: {.proof}",
    "---",
    "```{python}",
    "<b>x</b> <!-- y --> &amp; &#65;",
    r"\textbf{x} \input{/etc/passwd} \\ $x$ $$y$$ \(z\)",
    "@fig-network [@key] -@key [^1] ^[note]",
    "{{< var author >}} {{% x %}}",
    "`{python} 1 + 1` `r 1`",
    "http://example.org a@b.org <http://example.org> :smile:",
    'O\'Neill "Al" -- --- ... \u201cx\u201d',
    "{#id .class key=value} `x`{=latex}",
    "\\",
    "a\\",
    "</script><script>alert(1)</script> 100% $a$ 🎬",
    "!#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
]


def said(node: Any) -> str:
    """The text of inlines in pandoc's JSON. Raises ``AssertionError`` for markup."""
    assert node["t"] in ("Str", "Space"), node
    return str(node["c"]) if node["t"] == "Str" else " "


@pytest.mark.fault(
    "injection",
    provoked="An author's name, or another field, has HTML, LaTeX, a formula, a "
    "shortcode, a cell's code, emoji or marks that turn the direction of the text.",
    result="It is shown as it is written, and never run.",
    kept="The text round it.",
)
@pytest.mark.parametrize("text", NASTY)
def test_a_text_is_shown_literally(text: str) -> None:
    markdown = literal(text)
    assert not SHORTCODE.search(markdown) and not INLINE.search(markdown)
    reader = "markdown+autolink_bare_uris+emoji-implicit_figures"
    for before in ("", "By "):
        document = json.loads(
            pandoc([f"--from={reader}", "--to=json"], before + markdown + "\n")
        )
        (paragraph,) = document["blocks"]
        assert paragraph["t"] == "Para"
        shown = "".join(said(inline) for inline in paragraph["c"])
        assert shown == before + " ".join(text.split())


def test_hidden_marks_become_visible() -> None:
    assert literal("\u202eAda\u2069 \u0627\u062f\u0627") == (
        r"\\u202eAda\\u2069 " + "\u0627\u062f\u0627"
    )


def test_white_space_becomes_a_space() -> None:
    assert literal("  Ada\n\n    Love\tlace ") == "Ada Love lace"
