"""The tables of the run ``peers``, of chapters 3 and 4."""

from IPython.display import Markdown

from hw2.figures import table
from hw2.peers import ATTENTIONS, NETWORKS, WAYS, typical
from recorded import Run

LABELS = {
    "hw2": "this project",
    "vit-pytorch": "`vit-pytorch`",
    "timm": "`timm`",
    "products": "two products",
    "linear": "`linear`",
    "mapped": "`linear` after softmax",
    "public": "public",
    "causal": "`causal`",
    "masked": "masked quadratic",
}


def steps(run: Run) -> Markdown:
    """A row for each network: the milliseconds of a training step in each way.

    The median over the rounds, and in brackets their quartiles.
    """
    rows = []
    for name in NETWORKS:
        seconds = run.predictions[f"step {name}"]  # (rounds, 3)
        quarters = seconds.new_tensor([0.25, 0.5, 0.75])
        cells = [
            f"{1e3 * median:.0f} ({1e3 * low:.0f} to {1e3 * high:.0f})"
            for low, median, high in seconds.quantile(quarters, dim=0).T
        ]
        rows.append((LABELS[name], *cells))
    return table(["Step (ms)", *WAYS], rows, widths=[14, 18, 18, 18])


def attention(run: Run) -> Markdown:
    """A row for each T: the milliseconds of a pass forward and backward, medians."""
    tokens = run.predictions["tokens"].tolist()
    medians = (typical(run.predictions, f"pass {name}") for name in ATTENTIONS)
    columns = ((1e3 * seconds).tolist() for seconds in medians)
    rows = [
        (f"{T:,}", *(f"{milliseconds:.2f}" for milliseconds in row))
        for T, *row in zip(tokens, *columns, strict=True)
    ]
    return table(["$T$", *(LABELS[name] for name in ATTENTIONS)], rows, "r" * 7)
