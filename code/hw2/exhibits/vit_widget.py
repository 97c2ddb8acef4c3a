"""The widget of chapter 4: the network runs in the page, on test images."""

import base64
import math

from IPython.display import Markdown
from torch import Tensor

from hw2.data import FASHION_MNIST_CLASSES
from hw2.figures import widget
from hw2.training import count_parameters
from hw2.vit import ViT
from hw2.vit.model import PIXEL_MEAN, PIXEL_STD, Attention, Block

SHOWN = 64  # images, the first ones


def playable(images: Tensor, labels: Tensor, model: ViT) -> Markdown:
    """The widget of the rollout: what ``model`` does with the first of ``images``.

    They are bytes (N, 1, 28, 28), with their labels (N,). The weights are no part of
    it: the page loads them when it is asked to.
    """
    block = model.blocks[0]
    assert isinstance(block, Block) and isinstance(block.attention, Attention)
    pixels = images[:SHOWN].contiguous().numpy().tobytes()
    weights = 2 * count_parameters(model)  # bytes, in half precision
    shown = {
        "images": base64.b64encode(pixels).decode(),
        "labels": labels[:SHOWN].tolist(),
        "classes": FASHION_MNIST_CLASSES,
        "mean": PIXEL_MEAN,
        "std": PIXEL_STD,
        "eps": model.norm.eps,
        "patch": model.patch,
        "heads": block.attention.heads,
        "layers": len(model.blocks),
        "megabytes": math.ceil(4 / 3 * weights / 1e5) / 10,  # in base 64
    }
    return widget("vit", "fig-vit-rollout", shown)
