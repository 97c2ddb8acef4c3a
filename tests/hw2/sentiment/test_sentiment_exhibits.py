"""What chapter 5 shows is what ran, and on one scale."""

import ast
import inspect

import matplotlib.pyplot as plt

from hw2.exhibits import sentiment as exhibits
from hw2.sentiment import experiments, training


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
