"""The domain as the registry finds it."""

from core.lab.registry import Domain

DOMAIN = Domain(
    name="rl",
    title="Reinforcement learning",
    about="The field is a policy gradient, estimated from whole episodes of a few attempts at a task.",
    order=10,
)
