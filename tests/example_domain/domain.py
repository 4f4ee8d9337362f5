"""The domain as the registry finds it."""

from core.lab.registry import Domain

DOMAIN = Domain(
    name="identification",
    title="System identification",
    about="The field is the gradient of a model's one-step prediction error on a few moments of a record.",
)
