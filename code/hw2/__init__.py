"""Answers to the five problems of the homework.

``recurrence``, ``attention``, ``linear_attention`` with its ``scaling``, ``vit`` and
``sentiment`` answer the problems; ``data``, ``training``, ``study``, ``evaluation`` and
``figures`` are what they share, with ``files`` and ``arguments`` below them; ``peers``
compares with public code; ``runs`` lists what is recorded.
"""

from pathlib import Path

# What the package ``recorded`` has to know of this one (see recorded/home.py).
RECORDS = Path(__file__).parents[2] / "records"
VERSIONS = ("torch", "accelerate", "numpy", "transformers", "tokenizers", "scipy")
KEEPERS = ("hw2",)  # this module: where a record is kept has no part in a result
COMMAND = "make record RUN={}"
# What runs held in their first minutes, on one core: GiB, rounded up; the others held
# less than 4. Files that the system keeps at hand come on top, and give way.
MEMORY = {
    "linear-attention": 5,
    "sentiment-notebook": 5,
    "sentiment-gap": 5,
    "sentiment-padding": 5,
    "sentiment-frozen": 8,
    "sentiment-search": 8,
    "sentiment-finetuned": 21,
    "sentiment-search-finetuned": 22,
}
