"""What chapter 5 shows is what ran, and on one scale."""

import ast
import inspect
import io
import json
import re
from typing import Any

import matplotlib.pyplot as plt
import pytest

from hw2.exhibits import sentiment as exhibits
from hw2.exhibits import sentiment_studies, sentiment_widget
from hw2.figures import UNICODE_FONT, table, use_style
from hw2.sentiment import Predictor, experiments, training
from portable.pandoc import pandoc
from small_sentiment import made_up


def without_docstrings(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node):
            del node.body[0]
    return ast.dump(tree)


def test_a_listing_is_the_source_with_the_first_line_of_its_docstring() -> None:
    text = exhibits.brief(training.fit, training.divergence).data
    assert text.startswith("```python\ndef fit(\n") and text.endswith("\n```")
    assert '"""Train by Adam: the history, and the trained weights of the best' in text
    assert "smallest loss on the validation reviews" not in text
    shown = without_docstrings(text.removeprefix("```python\n").removesuffix("```"))
    sources = (inspect.getsource(of) for of in (training.fit, training.divergence))
    assert shown == without_docstrings("\n\n".join(sources))


def test_a_method_is_shown_without_its_indentation() -> None:
    class Shown:
        """One line."""

        def method(self) -> int:
            """First.

            Second.
            """
            return 1

    assert exhibits.brief(Shown.method).data == (
        '```python\ndef method(self) -> int:\n    """First."""\n    return 1\n```'
    )
    assert '"""One line."""' in exhibits.brief(Shown).data
    assert exhibits.brief(experiments.train_and_test).data.count('"""') == 2


def test_effects_of_tokens_are_on_one_scale() -> None:
    effects = {"a b": (["a", "b"], [0.5, -2.0]), "c": (["c"], [1.0])}
    fig = exhibits.occlusion(effects)
    assert {ax.get_xlim() for ax in fig.axes} == {(-2.1, 2.1)}
    assert {ax.get_ylim() for ax in fig.axes} == {(1.5, -0.5)}
    plt.close(fig)


# Reviews that are code where they are not taken literally.
HOSTILE = (
    "<script>alert(1)</script> A bad movie. </script><img src=x onerror=alert(1)>",
    r"\input{/etc/passwd} \textbf{Good} $x$ $\foo$ 100% &lt; a | b `{python} 1 + 1`",
    "{{< var author >}} [a](javascript:alert(1)) @fig-x *so* -- ...",
    "\u202eGood\u202c, \u2067émigré\u2069 🎬\x00\x07",
)


def shown(markdown: str) -> tuple[str, set[str]]:
    """The text of Markdown, and the kinds of what it consists of."""
    document = json.loads(pandoc(["--from=markdown", "--to=json"], markdown + "\n"))
    text, kinds = [], set()

    def visit(node: Any) -> None:
        if isinstance(node, dict) and "t" in node:
            kinds.add(node["t"])
            if node["t"] in ("Str", "Space"):
                text.append(node.get("c", " "))
        for part in node.values() if isinstance(node, dict) else node:
            if isinstance(part, dict | list):
                visit(part)

    visit(document["blocks"])
    return "".join(text), kinds


SHOWN = pytest.mark.fault(
    "injection",
    provoked="A review has HTML, LaTeX, a formula, a shortcode, a cell's code, emoji "
    "or marks that turn the direction of the text.",
    result="It is shown as it is written, and never run; hidden marks become visible.",
    kept="The text round it.",
)


@SHOWN
@pytest.mark.parametrize("text", HOSTILE)
def test_a_review_is_text_in_sentences_and_tables(
    predictor: Predictor, text: str
) -> None:
    visible = re.sub(r"[\u202e\u202c\u2067\u2069\x00\x07]", _escaped, text)
    found, kinds = shown(exhibits.predictions(predictor, [text]).data)
    assert found.startswith(f"“{visible}” ") and kinds == {"Para", "Str", "Space"}
    cells = table(["review", "n"], [(sentiment_studies.excerpt(text), 1)]).data
    found, kinds = shown(cells)
    assert found == f"reviewn{visible}1"
    assert not kinds & {"RawInline", "RawBlock", "Math", "Link", "Image", "Cite"}
    error = {"label": 1, "logit": 0.0, "text": text}
    run = made_up(metrics={"errors": [error]})
    assert visible in shown(sentiment_studies.errors(run).data)[0]


def _escaped(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


@SHOWN
@pytest.mark.filterwarnings("error")
def test_a_review_is_text_in_figures(predictor: Predictor) -> None:
    """No formula is set, which fails; what the font has is drawn, the rest escaped."""
    use_style()
    fig = exhibits.occlusion(exhibits.effects(predictor, HOSTILE))
    for ax, text in zip(fig.axes, HOSTILE, strict=True):
        title = "".join(ax.get_title().split())
        assert title == re.sub(r"[^!-~é]", _escaped, "".join(text.split()))
        # Where the family of the figures has another sign than <.
        assert ax.title.get_fontfamily() == [UNICODE_FONT]
        assert {of.get_fontname() for of in ax.get_yticklabels()} == {UNICODE_FONT}
    fig.savefig(io.BytesIO(), format="svg")
    plt.close(fig)


@SHOWN
def test_a_review_ends_no_widget(predictor: Predictor) -> None:
    labels = dict.fromkeys(HOSTILE, 1)
    models = {"sentiment-test": predictor}
    short = tuple(text for text in HOSTILE if len(text) < 70)
    data = sentiment_widget.playable_tokens(models, {}, {"g": short}, labels).data
    assert data.count("</script>") == 1 and data.count("```") == 2
    body = re.search(r"json\">(.*)</script>", data)
    assert body and "<" not in body[1]
    reviews = json.loads(body[1])["reviews"]
    assert ["".join(review["pieces"]) for review in reviews] == [
        re.sub(r"[\u202e\u202c\u2067\u2069\x00\x07]", _escaped, text) for text in short
    ]
