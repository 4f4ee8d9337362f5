"""The domain of games, for the registry."""

from core.lab.registry import Domain

DOMAIN = Domain(
    name="games",
    title="Two-player games",
    about="The field holds every player's gradient of a loss of its own; often the gradient of nothing.",
    order=20,
)
