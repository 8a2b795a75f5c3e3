"""Amounts of money in answers are not shown as formulas."""

import pytest

from bots.web.dollars import with_money


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("It costs $5 per month, or $50 per year.", r"It costs \$5 per month, or \$50 per year."),
        ("From $5-$10, or US$ 12.", r"From \$5-\$10, or US\$ 12."),
        ("One dollar sign: $", r"One dollar sign: \$"),
        ("It costs $5\n\nand not 6$ at all", "It costs \\$5\n\nand not 6\\$ at all"),
    ],
)
def test_amounts_are_escaped(text: str, shown: str) -> None:
    assert with_money(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Here $x^2$ grows, and $$x^3$$ grows faster.",
        "A formula may begin with a digit: $2x + 1$.",
        "Run `echo $HOME $PATH`, or ``a ` $b $c``.",
        "```sh\necho $5 $6\n```",
        r"Escaped already: \$5 and \$6",
        "No dollars.",
    ],
)
def test_formulas_and_code_stay_as_they_are(text: str) -> None:
    assert with_money(text) == text


def test_money_and_a_formula_in_one_paragraph() -> None:
    assert with_money("$x$ costs $5, and $y$ costs $6") == r"$x$ costs \$5, and $y$ costs \$6"
