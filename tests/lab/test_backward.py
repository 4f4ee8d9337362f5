"""The hand-written backward pass: autograd's gradients, and rows that do not notice each other."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from core.lab import backward
from core.lab.backward import batched_gradient
from core.lab.batches import Batches
from core.lab.random import Keys

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "1-32-32-1": lambda: nn.Sequential(
        nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)
    ),
    "a nest of relu and identity": lambda: nn.Sequential(
        nn.Identity(), nn.Sequential(nn.Linear(3, 7), nn.ReLU()), nn.Linear(7, 5, bias=False), nn.ReLU()
    ),
    "one layer": lambda: nn.Linear(4, 3),
    "a bottleneck": lambda: nn.Sequential(nn.Linear(6, 1), nn.Tanh(), nn.Linear(1, 4, bias=False), nn.Tanh()),
}


def distance_in_logs(output: Tensor, target: Tensor) -> Tensor:
    return torch.log1p((output - target) ** 2).sum(-1).mean()


def case(name: str, rows: int, dtype: torch.dtype, size: int = 9) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    module = NETWORKS[name]().to(dtype)
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    keys = Keys.of(range(rows))
    params = keys.fold("w").normal(sum(p.numel() for p in module.parameters()), dtype=dtype) * 0.6
    inputs = keys.fold("x").normal(size, linear[0].in_features, dtype=dtype)
    targets = keys.fold("y").normal(size, linear[-1].out_features, dtype=dtype)
    return module, params, inputs, targets


@pytest.mark.parametrize(
    "loss", [nn.functional.mse_loss, nn.MSELoss(), nn.MSELoss(reduction="sum"), distance_in_logs]
)
@pytest.mark.parametrize("name", list(NETWORKS))
def test_it_is_the_gradient(name: str, loss: Callable[..., Tensor]) -> None:
    module, params, inputs, targets = case(name, 5, torch.float64)
    shapes = {key: p.shape for key, p in module.named_parameters()}

    def single(flat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        parts = torch.split(flat, [s.numel() for s in shapes.values()])
        own = {key: p.view(s) for (key, s), p in zip(shapes.items(), parts, strict=True)}
        return loss(functional_call(module, own, (x,)), y)

    expected, values = vmap(grad_and_value(single))(params, inputs, targets)
    gradient = batched_gradient(module, loss)
    assert gradient is not None
    losses, found = gradient(params, inputs, targets)
    torch.testing.assert_close(losses, values, rtol=1e-12, atol=0)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("size", [1, 9, 64])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_row_has_the_same_bits_in_any_batch_and_group(
    name: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, params, inputs, targets = case(name, 131, torch.float32, size)
    gradient = batched_gradient(module, nn.functional.mse_loss)
    assert gradient is not None
    losses, found = gradient(params, inputs, targets)
    for cache in (backward._CACHE, 1 << 14):
        monkeypatch.setattr(backward, "_CACHE", cache)
        for part in (slice(0, 2), slice(1, 4), slice(17, 50), slice(40, 131), slice(0, 131)):
            own_losses, own = gradient(params[part], inputs[part], targets[part])
            assert torch.equal(own, found[part])
            assert torch.equal(own_losses, losses[part])


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(2, 2), nn.Softmax(dim=-1)),
        nn.Sequential(nn.Linear(2, 2), nn.GELU()),
        nn.Sequential(nn.Tanh()),
    ],
)
def test_other_modules_are_left_to_autograd(module: nn.Module) -> None:
    assert batched_gradient(module, nn.functional.mse_loss) is None


def test_draws_made_ahead_are_those_of_each_step() -> None:
    data = (torch.arange(50.0)[:, None], torch.arange(50))
    for keys in (Keys.of((3, 7)), Keys.of((3, 7), copies=3), Keys.of(range(40))):
        ahead = Batches(data, 6)
        for step in (0, 1, 2, 3, 4, 60, 61, 62, 5, 0):
            index = keys.fold("batch").at(step).integers(50, 6)
            inputs, numbers = ahead.at(keys, step)
            assert torch.equal(numbers, index)
            assert torch.equal(inputs, data[0][index])
    first, second = Keys.of((0, 1)), Keys.of((2, 3))
    shared = Batches(data, 6)
    for step in range(4):
        for keys in (first, second):
            assert torch.equal(shared.at(keys, step)[1], keys.fold("batch").at(step).integers(50, 6))
