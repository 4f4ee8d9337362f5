"""A game of one's own: modules and a loss for each, or a vector field.

    import torch
    from torch import nn
    from core.lab.compare import compare
    from games.own import game_from, game_of

    s = nn.functional.softplus
    generator = nn.Linear(2, 2)
    critic = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    game = game_from(
        modules=(generator, critic),
        losses=(lambda g, d, z, x: s(-d(g(z))).mean(), lambda g, d, z, x: (s(-d(x)) + s(d(g(z)))).mean()),
        sample=lambda keys: (keys.fold("z").normal(64, 2), 3.0 + keys.fold("x").normal(64, 2)),
        measure=lambda g, d, z, x: {"miss": (g(z).mean(0) - 3.0).norm()},
    )
    print(compare(game, ["sgd", "adam"], steps=50, lr=(0.01, 0.1), seeds=4, objective="miss"))

    saddle = game_of(lambda z: torch.stack([z[1], -z[0]]), sizes=(1, 1))

Any update rule, play scheme and adjustment of the lab plays it: the field is differentiable.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from core.lab.errors import VhatError
from core.lab.problem import Field
from core.lab.random import Keys
from core.lab.starts import fresh_starts
from games.noise import sphere

Loss = Callable[..., Tensor]
"""`loss(*modules, *batch) -> scalar`: what a player descends."""

Sample = Callable[[Keys], tuple[Tensor, ...]]
"""A batch: tensors `[R, ...]`, each row from its own key."""

Measures = Callable[..., Mapping[str, Tensor]]
"""`measure(*modules, *batch) -> {name: scalar}`."""

VectorField = Callable[[Tensor], Tensor]
"""`[D] -> [D]`, every player's descent direction; operations that `torch.func.vmap` follows."""


class ModuleGame:
    """A player a module, each with a loss of its own; see `game_from`."""

    def __init__(
        self,
        modules: Sequence[nn.Module],
        losses: Sequence[Loss],
        sample: Sample,
        measure: Measures | None,
        device: str,
    ) -> None:
        self.modules = [copy.deepcopy(module).to(device) for module in modules]
        self.player_losses, self.sample, self.judge, self.device = tuple(losses), sample, measure, device
        self.shapes = [
            {name: p.shape for name, p in module.named_parameters() if p.requires_grad}
            for module in self.modules
        ]
        sizes = [sum(math.prod(s) for s in shapes.values()) for shapes in self.shapes]
        self.players = tuple(slice(a, b) for a, b in pairwise(accumulate(sizes, initial=0)))
        self.dim = sum(sizes)

    def init(self, keys: Keys) -> Tensor:
        """`[R, D]`: every module reset by its own `reset_parameters`, once a seed."""
        starts = [
            fresh_starts(module, keys.fold(f"player {number}"), self.device)
            for number, module in enumerate(self.modules)
        ]
        return torch.cat(starts, dim=1)

    def _callables(self, flat: Tensor) -> list[Callable[..., Any]]:
        """The modules as functions, with the parameters of one row `[D]`."""

        def bound(module: nn.Module, shapes: Mapping[str, torch.Size], own: Tensor) -> Callable[..., Any]:
            parts = torch.split(own, [math.prod(s) for s in shapes.values()])
            params = {n: p.view(s) for (n, s), p in zip(shapes.items(), parts, strict=True)}
            return lambda *inputs: functional_call(module, params, inputs)

        return [
            bound(module, shapes, flat[player])
            for module, shapes, player in zip(self.modules, self.shapes, self.players, strict=True)
        ]

    def _row(self, flat: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """The field `[D]` and the players' losses of one row."""
        directions, values = [], []
        for loss, player in zip(self.player_losses, self.players, strict=True):

            def own(block: Tensor, loss: Loss = loss, player: slice = player) -> Tensor:
                whole = torch.cat([flat[: player.start], block, flat[player.stop :]])
                return loss(*self._callables(whole), *batch)

            direction, value = grad_and_value(own)(flat[player])
            directions.append(direction)
            values.append(value)
        return torch.cat(directions), torch.stack(values)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """Every player's gradient on one sample, and the losses `loss_0`, `loss_1`, ..."""
        batch = self.sample(keys.fold("batch").at(step))
        values, losses = vmap(self._row)(params, *batch)
        return Field(values, {f"loss_{i}": losses[:, i].detach() for i in range(len(self.player_losses))})

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        """The losses and the game's own measures, on a batch that is drawn once a seed."""

        def judged(flat: Tensor, *batch: Tensor) -> dict[str, Tensor]:
            modules = self._callables(flat)
            found = {f"loss_{i}": loss(*modules, *batch) for i, loss in enumerate(self.player_losses)}
            return found if self.judge is None else {**found, **self.judge(*modules, *batch)}

        found: Mapping[str, Tensor] = vmap(judged)(params, *self.sample(keys.fold("held-out")))
        return found


class FieldGame:
    """A vector field; see `game_of`."""

    def __init__(
        self, field: VectorField, sizes: Sequence[int], equilibrium: Tensor | None, radius: float, device: str
    ) -> None:
        self.vector_field, self.radius, self.device = field, radius, device
        self.players = tuple(slice(a, b) for a, b in pairwise(accumulate(sizes, initial=0)))
        self.dim = sum(sizes)
        self.centre = torch.zeros(self.dim) if equilibrium is None else equilibrium
        self.known = equilibrium is not None

    def init(self, keys: Keys) -> Tensor:
        """`[R, D]` float64, uniform on the sphere of the game's radius around its equilibrium (or 0)."""
        return self.centre.to(self.device, torch.float64) + sphere(keys, self.dim, self.radius)

    def mean_field(self, params: Tensor) -> Tensor:
        """`[R, D]`."""
        return vmap(self.vector_field)(params)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:  # noqa: ARG002
        """The field itself."""
        return Field(self.mean_field(params))

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:  # noqa: ARG002
        """`field norm`, zero at equilibria; and `distance` to the equilibrium, if it was given."""
        found = {"field norm": self.mean_field(params).norm(dim=1)}
        if self.known:
            found["distance"] = (params - self.centre.to(params)).norm(dim=1)
        return found


def game_from(
    modules: Sequence[nn.Module],
    losses: Sequence[Loss],
    sample: Sample,
    *,
    measure: Measures | None = None,
    device: str = "cpu",
) -> ModuleGame:
    """A game of modules, each of which descends its own loss.

    Args:
        modules: the players; without buffers and dropout.
        losses: one a player, `loss(*modules, *batch) -> scalar`.
        sample: from keys to a batch, tensors `[R, ...]`; for instance
            `lambda keys: (keys.normal(64, 2),)`.
        measure: `measure(*modules, *batch) -> {name: scalar}`, beside the losses.
        device: where it runs.

    Raises:
        VhatError: for another number of losses than modules, a module without parameters or with buffers, or
            a loss, sample or measure that fails.
    """
    if len(modules) < 1 or len(modules) != len(losses):
        raise VhatError(f"a game needs a loss a module, got {len(modules)} modules and {len(losses)} losses")
    for number, module in enumerate(modules):
        if not any(p.requires_grad for p in module.parameters()):
            raise VhatError(f"module {number} of the game has no parameters to train")
        if any(True for _ in module.buffers()):
            raise VhatError(f"module {number} of the game keeps buffers, which all replicas would share")
    game = ModuleGame(modules, losses, sample, measure, device)
    return _tried(game, device)


def game_of(
    field: VectorField,
    sizes: Sequence[int],
    *,
    equilibrium: Tensor | None = None,
    radius: float = 1.0,
    device: str = "cpu",
) -> FieldGame:
    """A game from a vector field of one replica.

    Args:
        field: `[D] -> [D]`, what the players descend along.
        sizes: coordinates of each player, in order; they add up to D.
        equilibrium: `[D]`, if it is known.
        radius: distance from it (or from 0) at which players start.
        device: where it runs.

    Raises:
        VhatError: for sizes below 1, an equilibrium of another size, or a field that fails.
    """
    if not sizes or min(sizes) < 1 or radius < 0.0:
        raise VhatError(f"a game needs sizes of at least 1 and a radius >= 0, got {list(sizes)} and {radius}")
    if equilibrium is not None and equilibrium.shape != (sum(sizes),):
        raise VhatError(
            f"the equilibrium has shape {tuple(equilibrium.shape)}, the players {sum(sizes)} coordinates"
        )
    return _tried(FieldGame(field, sizes, equilibrium, radius, device), device)


_Game = TypeVar("_Game", ModuleGame, FieldGame)


def _tried(game: _Game, device: str) -> _Game:
    """One evaluation, so that whatever does not fit together is said here and not in the middle of a run."""
    keys = Keys.of((0, 1), device=device)
    try:
        params = game.init(keys)
        shape = game.field(params, keys, 0).values.shape
        measures = game.measure(params, keys)
    except Exception as error:
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        raise VhatError(f"the game fails when it is tried: {type(error).__name__}: {reason}") from error
    if shape != params.shape:
        raise VhatError(f"the game's field is {tuple(shape)[1:]} a replica; give {tuple(params.shape)[1:]}")
    for name, value in measures.items():
        if value.shape != (2,):
            raise VhatError(f"the game's measure {name!r} is {tuple(value.shape)[1:]}; give one number")
    return game
