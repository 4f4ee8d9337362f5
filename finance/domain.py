"""The domain as the registry finds it."""

from core.lab.registry import Domain

DOMAIN = Domain(
    name="finance",
    title="Finance",
    about="The field is the gradient of a portfolio's mean-variance utility on the days that were drawn.",
    order=30,
)
