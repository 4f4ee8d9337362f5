"""Reinforcement learning: policy gradients on Gymnasium tasks, hundreds of agents at once."""
