"""Prints scores and adapters as tables on standard output."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from ops.finetune.adapters import Manifest


def scores_table(manifest: Manifest) -> None:
    """Prints the scores of the base model and of an adapter side by side."""
    base, adapter = manifest.scores["base"], manifest.scores["adapter"]
    asked = int(adapter["asked"])
    table = Table(title=f"{asked} held-out questions", title_justify="left")
    table.add_column("")
    table.add_column("base model", justify="right")
    table.add_column(manifest.name, justify="right")
    for name, words in (("right", "right answers"), ("exact", "word for word")):
        table.add_row(words, f"{base[name]:.0f} of {asked}", f"{adapter[name]:.0f} of {asked}")
    table.add_row("perplexity", f"{base['perplexity']:.2f}", f"{adapter['perplexity']:.2f}")
    Console().print(table)


def adapters_table(manifests: Sequence[Manifest]) -> None:
    """Prints one line per adapter."""
    table = Table(box=None)
    for heading in ("name", "base model", "trained", "examples", "right before", "right after"):
        table.add_column(heading)
    for each in manifests:
        base, adapter = each.scores["base"], each.scores["adapter"]
        table.add_row(
            each.name,
            each.base.name,
            each.created_at[:10],
            str(each.data.examples),
            f"{base['right']:.0f} of {base['asked']:.0f}",
            f"{adapter['right']:.0f} of {adapter['asked']:.0f}",
        )
    Console().print(table)
