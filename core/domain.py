"""The mechanism as a domain of its own: found like any other."""

from core.lab.registry import Domain

DOMAIN = Domain(
    name="core",
    title="Mechanism",
    about="The gradient of a loss: what each part of the update rule does, where the answer is known.",
    order=0,
)
