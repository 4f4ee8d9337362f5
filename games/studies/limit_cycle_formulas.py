"""The derivation of the limit cycle in six lines; docs/limit-cycle.md has it in full."""

FORMULAS = (
    (
        r"r = \eta\,\sqrt{\frac{8c}{k\,(1 - k c)}}, \qquad k = 1 - \beta_2, \quad 0 < k c < 1",
        "The law under test: the radius on which Adam ends, in learning rates η. k is the inverse of its "
        "memory; the law keeps the lowest order in k c.",
    ),
    (
        r"w = \frac{1}{\sqrt{V}}, \qquad V = \frac{r^2}{2}",
        "Lengths in learning rates. V is what both second moments average over a turn, w a step's angle.",
    ),
    (
        r"\frac{c\, w^2}{2}, \qquad c = 1 + 2a",
        "What drives, growth of log r a step: a step is straight, and its gradients are old. a is their mean "
        "age in steps: β₁ / (1 − β₁) for momentum, half a step less in alternating play, s less for optimism "
        "of strength s, one less for extragradient.",
    ),
    (
        r"S' = k\left(\frac{r^2}{2} - S\right) - 2 i w S \quad\Rightarrow\quad "
        r"S = \frac{r^2}{2}\,\frac{k}{k + 2 i w}",
        "The swing of a player's second moment, twice a turn: it follows the player's squared gradient at "
        "the rate k while the path turns by w.",
    ),
    (
        r"\frac{w}{4}\,\mathrm{Im}\,\frac{S}{V} = -\frac{w^2}{2}\,\frac{k}{k^2 + 4 w^2}",
        "What damps, growth of log r a step: the imaginary part of the swing, its lag. Without a swing "
        "(S = 0) or without a lag (S real) there is none.",
    ),
    (
        r"c = \frac{k}{k^2 + 4 w^2} \quad\Rightarrow\quad w^2 = \frac{1}{4}\left(\frac{k}{c} - k^2\right)",
        "Balance, which is the law. The damping is at most 1 / k: from k c = 1 on there is no "
        "cycle. For c ≤ 0 nothing drives.",
    ),
)
