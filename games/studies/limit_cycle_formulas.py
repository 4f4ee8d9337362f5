"""The derivation of the limit cycle in six lines; docs/limit-cycle.md has it in full."""

FORMULAS = (
    (
        r"r = \eta\,\sqrt{\frac{8c}{k\,(1 - k c)}}, \qquad "
        r"k = 1 - \beta_2, \quad c = 1 + 2a, \quad 0 < k c < 1",
        "The law under test: the radius on which Adam ends, in learning rates η. k is the inverse of its "
        "memory, a the mean age of its gradients in steps: β₁ / (1 − β₁) for momentum, half a step less in "
        "alternating play, s less for optimism of strength s, one less for extragradient. The law keeps the "
        "lowest order in k c.",
    ),
    (
        r"S' = k\left(\frac{r^2}{2} - S\right) - 2 i w S \quad\Rightarrow\quad "
        r"S = \frac{r^2}{2}\,\frac{k}{k + 2 i w}, \qquad "
        r"w = \frac{1}{\sqrt{V}}, \quad V = \frac{r^2}{2}",
        "The swing S of a player's second moment about its mean V, twice a turn: it follows the player's "
        "squared gradient at the rate k while the path turns by the angle w a step. Lengths are in learning "
        "rates.",
    ),
    (
        r"\frac{c\, w^2}{2} + \frac{w}{4}\,\mathrm{Im}\,\frac{S}{V} = "
        r"\frac{w^2}{2}\left(c - \frac{k}{k^2 + 4 w^2}\right)",
        "Growth of log r a step. The first term drives: a step is straight, and its gradients are old. The "
        "second damps: the imaginary part of the swing, its lag; without a swing (S = 0) or a lag (S real) "
        "there is none. On the cycle both are equal, which is the law; from k c = 1 on there is no cycle, "
        "and for c ≤ 0 nothing drives.",
    ),
)
