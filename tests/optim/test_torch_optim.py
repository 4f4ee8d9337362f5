"""Optimizers for torch models against torch.optim's own: drop-in, bit for bit."""

import copy
import io
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import optimizer as torch_steps
from torch.testing._internal import common_optimizers as torch_inputs

from core.optim import torch_optim as ours

NAMES = ["SGD", "RMSprop", "Adam", "AdamW"]
INPUTS = {
    "SGD": torch_inputs.optim_inputs_func_sgd,
    "RMSprop": torch_inputs.optim_inputs_func_rmsprop,
    "Adam": torch_inputs.optim_inputs_func_adam,
    "AdamW": torch_inputs.optim_inputs_func_adamw,
}
CASES = [
    pytest.param(name, dict(i.kwargs), id=f"{name}-{i.desc}") for name in NAMES for i in INPUTS[name]("cpu")
]
Make = Callable[[Any], torch.optim.Optimizer]


def model(dtype: torch.dtype = torch.float32) -> nn.Module:
    """Small parameters, one large one, one scalar, and a convolution in channels-last memory."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.Linear(200, 201), nn.Linear(201, 2, bias=False)]
    module = nn.ModuleList(layers)
    module.register_parameter("scale", nn.Parameter(torch.tensor(1.5)))
    return module.to(dtype).to(memory_format=torch.channels_last)


def give_gradients(modules: list[nn.Module], step: int, *, none: tuple[int, ...] = ()) -> None:
    """The same random gradients to each; parameters in `none` get none."""
    for module in modules:
        generator = torch.Generator().manual_seed(step)
        for index, p in enumerate(module.parameters()):
            gradient = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)
            p.grad = None if index in none else gradient.to(memory_format=torch.preserve_format)


def pair(name: str, dtype: torch.dtype = torch.float32, **kwargs: Any) -> tuple[list[nn.Module], list[Any]]:
    modules = [model(dtype), model(dtype)]
    makers: list[Make] = [getattr(ours, name), getattr(torch.optim, name)]
    return modules, [make(m.parameters(), **kwargs) for make, m in zip(makers, modules, strict=True)]


def assert_same(modules: list[nn.Module]) -> None:
    for a, b in zip(modules[0].parameters(), modules[1].parameters(), strict=True):
        assert torch.equal(a, b)


def assert_same_state(ours_: torch.optim.Optimizer, theirs: torch.optim.Optimizer) -> None:
    a, b = ours_.state_dict()["state"], theirs.state_dict()["state"]
    assert a.keys() == b.keys()
    for index in a:
        assert a[index].keys() == b[index].keys()
        for name in a[index]:
            assert a[index][name].shape == b[index][name].shape
            assert a[index][name].dtype == b[index][name].dtype
            assert torch.equal(a[index][name], b[index][name])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_torchs_inputs_give_torchs_bits(name: str, kwargs: dict[str, Any], dtype: torch.dtype) -> None:
    modules, optimizers = pair(name, dtype, **kwargs)
    for step in range(50):
        give_gradients(modules, step)
        for optimizer in optimizers:
            optimizer.step()
    assert_same(modules)
    assert_same_state(*optimizers)


@pytest.mark.parametrize(("name", "kwargs"), CASES)
@pytest.mark.parametrize("to_torch", [True, False])
def test_state_dicts_are_exchanged_both_ways(name: str, kwargs: dict[str, Any], to_torch: bool) -> None:
    """One run is carried on by the other's class, from its state_dict; a third has never changed hands."""
    modules, optimizers = pair(name, **kwargs)
    for step in range(7):
        give_gradients(modules, step)
        for optimizer in optimizers:
            optimizer.step()
    giver = 0 if to_torch else 1
    taker_class = getattr(torch.optim if to_torch else ours, name)
    stored = io.BytesIO()
    torch.save(optimizers[giver].state_dict(), stored)
    stored.seek(0)
    taker = taker_class(
        modules[giver].parameters(), **({} if isinstance(kwargs.get("lr"), Tensor) else kwargs)
    )
    taker.load_state_dict(torch.load(stored, weights_only=True))
    optimizers[giver] = taker
    for step in range(7, 20):
        give_gradients(modules, step)
        for optimizer in optimizers:
            optimizer.step()
    assert_same(modules)


@pytest.mark.parametrize("name", NAMES)
def test_loading_in_the_same_process_does_not_tie_two_optimizers(name: str) -> None:
    kwargs = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    (first, second), _ = pair(name)
    source = getattr(ours, name)(first.parameters(), **kwargs)
    give_gradients([first, second], 0)
    source.step()
    copied = getattr(ours, name)(second.parameters(), **kwargs)
    copied.load_state_dict(source.state_dict())
    kept = copy.deepcopy(source.state_dict()["state"])
    copied.step()
    for index, slot in source.state_dict()["state"].items():
        for key, value in slot.items():
            assert torch.equal(value, kept[index][key])


@pytest.mark.parametrize(
    ("name", "kwargs"), [("SGD", {"momentum": 0.9, "dampening": 0.5}), ("Adam", {"amsgrad": True})]
)
def test_missing_gradients_and_unequal_step_counts(name: str, kwargs: dict[str, Any]) -> None:
    modules, optimizers = pair(name, **kwargs)
    for step, none in enumerate([(0, 3), (0,), (), (1, 2), (), (4,), (0, 1, 2, 3, 4, 5), ()]):
        give_gradients(modules, step, none=none)
        for optimizer in optimizers:
            optimizer.step()
        assert_same(modules)
        assert_same_state(*optimizers)


@pytest.mark.parametrize("name", NAMES)
def test_parameter_groups_and_schedulers(name: str) -> None:
    modules = [model(), model()]
    optimizers = []
    for module, library in zip(modules, (ours, torch.optim), strict=True):
        conv, first, second = module
        groups = [
            {"params": conv.parameters(), "lr": 0.5, "weight_decay": 0.1},
            {"params": first.parameters()},
        ]
        optimizer = getattr(library, name)(groups, lr=0.01)
        optimizer.add_param_group({"params": list(second.parameters()), "lr": 0.02, "maximize": True})
        optimizers.append(optimizer)
    schedulers = [torch.optim.lr_scheduler.CosineAnnealingLR(o, 10) for o in optimizers]
    for step in range(12):
        give_gradients(modules, step)
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            scheduler.step()
    assert_same(modules)


@pytest.mark.parametrize(("name", "momentum"), [("SGD", {"momentum": 0.9}), ("Adam", {})])
def test_one_cycle_also_moves_the_momentum(name: str, momentum: dict[str, float]) -> None:
    modules, optimizers = pair(name, lr=0.01, **momentum)
    schedulers = [torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=20) for o in optimizers]
    for step in range(15):
        give_gradients(modules, step)
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            scheduler.step()
    assert_same(modules)


def test_a_closure_is_evaluated_with_gradients_and_its_loss_returned() -> None:
    parameter = nn.Parameter(torch.tensor([3.0]))
    optimizer = ours.SGD([parameter], lr=0.25)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (parameter**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9.0
    assert float(parameter.detach()) == 1.5
    assert optimizer.step() is None


@pytest.mark.parametrize("name", NAMES)
def test_users_may_exchange_what_the_optimizer_rests_on(name: str) -> None:
    """Reassigned data, edited state, reloaded weights, deep copies: after each, torch's steps still."""
    modules, optimizers = pair(name)

    def advance(steps: range) -> None:
        for step in steps:
            give_gradients(modules, step)
            for optimizer in optimizers:
                optimizer.step()
        assert_same(modules)

    advance(range(3))
    for module in modules:
        for p in module.parameters():
            p.data = p.data * 0.5
    advance(range(3, 6))
    for optimizer in optimizers:
        for slot in optimizer.state.values():
            for key, value in slot.items():
                slot[key] = value.clone() * (1 if key == "step" else 3)
    advance(range(6, 9))
    for optimizer in optimizers:
        for slot in optimizer.state.values():
            if "step" in slot:
                slot["step"].fill_(2.0)
    advance(range(9, 12))
    for module in modules:
        module.load_state_dict({k: v + 1 for k, v in module.state_dict().items()})
    advance(range(12, 15))
    copies = [copy.deepcopy((m, o)) for m, o in zip(modules, optimizers, strict=True)]
    advance(range(15, 18))
    after = [p.clone() for p in modules[0].parameters()]
    modules, optimizers = [m for m, _ in copies], [o for _, o in copies]
    advance(range(15, 18))
    assert all(torch.equal(a, b) for a, b in zip(after, modules[0].parameters(), strict=True))


def test_a_model_moved_to_another_type_takes_its_state_along() -> None:
    modules, (optimizer, _) = pair("Adam")
    give_gradients(modules, 0)
    optimizer.step()
    modules[0].double()
    give_gradients(modules, 1)
    optimizer.step()
    slots = optimizer.state_dict()["state"].values()
    assert all(slot["exp_avg"].dtype == torch.float64 for slot in slots)
    assert all(float(slot["step"]) == 2 for slot in slots)


@pytest.mark.parametrize("name", NAMES)
def test_complex_parameters(name: str) -> None:
    kwargs = {"momentum": 0.9} if name == "SGD" else {}
    starts = [
        torch.randn(n, dtype=torch.complex64, generator=torch.Generator().manual_seed(n)) for n in (3, 8)
    ]
    parameters = [[nn.Parameter(s.clone()) for s in starts] for _ in range(2)]
    optimizers = [
        getattr(lib, name)(ps, **kwargs) for lib, ps in zip((ours, torch.optim), parameters, strict=True)
    ]
    for step in range(20):
        for ps, optimizer in zip(parameters, optimizers, strict=True):
            generator = torch.Generator().manual_seed(step)
            for p in ps:
                p.grad = torch.randn(p.shape, dtype=p.dtype, generator=generator)
            optimizer.step()
    for a, b in zip(*parameters, strict=True):
        torch.testing.assert_close(
            a, b, rtol=1e-6 if name == "SGD" else 0, atol=0
        )  # torch's SGD stays complex
    for a, b in zip(*(o.state_dict()["state"].values() for o in optimizers), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6 if name == "SGD" else 0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_parameters(dtype: torch.dtype) -> None:
    modules, optimizers = pair("Adam", dtype, eps=1e-4)
    for step in range(20):
        give_gradients(modules, step)
        for optimizer in optimizers:
            optimizer.step()
    assert_same(modules)
    assert_same_state(*optimizers)


def test_sparse_gradients() -> None:
    tables = [nn.Embedding(10, 3, sparse=True) for _ in range(2)]
    tables[1].load_state_dict(tables[0].state_dict())
    optimizers = [ours.SGD(tables[0].parameters(), lr=0.1), torch.optim.SGD(tables[1].parameters(), lr=0.1)]
    for table, optimizer in zip(tables, optimizers, strict=True):
        table(torch.tensor([1, 4, 7])).square().sum().backward()
        optimizer.step()
    assert torch.equal(tables[0].weight, tables[1].weight)
    for name in ("Adam", "RMSprop"):
        optimizer = getattr(ours, name)(tables[0].parameters())
        with pytest.raises(RuntimeError, match=f"{name} does not support sparse gradients"):
            optimizer.step()


def test_the_fused_kernel_agrees_to_rounding() -> None:
    for decoupled, amsgrad in itertools.product((False, True), repeat=2):
        name = "AdamW" if decoupled else "Adam"
        modules, (_, reference) = pair(name, amsgrad=amsgrad, weight_decay=0.1)
        fused = getattr(ours, name)(modules[0].parameters(), amsgrad=amsgrad, weight_decay=0.1, fused=True)
        for step in range(20):
            give_gradients(modules, step)
            fused.step()
            reference.step()
        for a, b in zip(modules[0].parameters(), modules[1].parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_the_fused_kernel_is_given_what_torch_gives_it() -> None:
    """Contiguous parameters and gradients: the kernel's own bits; other memory: those of the formula."""
    starts = [torch.randn(3, 5), torch.randn(7), torch.randn(300, 300)]
    ours_, theirs = ([nn.Parameter(s.clone()) for s in starts] for _ in range(2))
    optimizers = [ours.Adam(ours_, fused=True), torch.optim.Adam(theirs, fused=True)]
    for step in range(10):
        generator = torch.Generator().manual_seed(step)
        for a, b in zip(ours_, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
        assert all(torch.equal(a, b) for a, b in zip(ours_, theirs, strict=True))
        assert_same_state(*optimizers)
    for matrix in (theirs[0], theirs[2]):
        plain, fused = (nn.Parameter(matrix.detach().clone()) for _ in range(2))
        for p in (plain, fused):
            p.grad = torch.randn(p.shape[::-1], generator=torch.Generator().manual_seed(0)).mT
        ours.Adam([plain]).step()
        ours.Adam([fused], fused=True).step()
        assert torch.equal(plain, fused)


def test_hooks_and_the_profiler_see_a_step_as_they_see_torchs() -> None:
    seen: list[list[Any]] = []
    for library in (ours, torch.optim):
        parameter = nn.Parameter(torch.ones(2))
        parameter.grad = torch.ones(2)
        optimizer = library.Adam([parameter], lr=0.1)
        calls: list[Any] = []

        def before(own: Any, args: Any, kwargs: Any, calls: list[Any] = calls) -> None:
            calls.append(("before", len(args), dict(kwargs), own.param_groups[0]["params"][0].sum().item()))

        def after(own: Any, args: Any, kwargs: Any, calls: list[Any] = calls) -> None:
            calls.append(("after", len(args), dict(kwargs), own.param_groups[0]["params"][0].sum().item()))

        handles = [
            optimizer.register_step_pre_hook(before),
            optimizer.register_step_post_hook(after),
            torch_steps.register_optimizer_step_pre_hook(before),
            torch_steps.register_optimizer_step_post_hook(after),
        ]
        optimizer.step()
        optimizer.step(lambda: 1.0)
        for handle in handles:
            handle.remove()
        optimizer.step()
        with torch.autograd.profiler.profile() as profile:
            optimizer.step()
        records = [e.name for e in profile.function_events if e.name.startswith("Optimizer.step")]
        seen.append([calls, records])
    assert seen[0] == seen[1]
    assert len(seen[0][0]) == 8
    assert seen[0][1] == ["Optimizer.step#Adam.step"]


def test_normalized_steps_have_length_lr_over_all_parameters() -> None:
    module = model()
    before = torch.cat([p.detach().reshape(-1).clone() for p in module.parameters()])
    give_gradients([module], 0)
    ours.NormalizedSGD(module.parameters(), lr=0.7).step()
    moved = torch.cat([p.detach().reshape(-1) for p in module.parameters()]) - before
    gradient = torch.cat([p.grad.reshape(-1) for p in module.parameters()])
    torch.testing.assert_close(moved.norm(), torch.tensor(0.7), rtol=1e-4, atol=0)
    torch.testing.assert_close(moved, -0.7 * gradient / gradient.norm(), rtol=1e-4, atol=1e-6)


def test_normalized_steps_of_a_single_matrix_are_not_row_by_row() -> None:
    matrix = nn.Parameter(torch.zeros(2, 2))
    matrix.grad = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    ours.NormalizedSGD([matrix], lr=1.0).step()
    torch.testing.assert_close(matrix.detach(), torch.tensor([[-0.6, 0.0], [0.0, -0.8]]))


@pytest.mark.parametrize("kind", [ours.SignSGD, ours.NormalizedSGD])
def test_momentum_of_our_own_optimizers_survives_saving(kind: Any) -> None:
    module = model()
    optimizer = kind(module.parameters(), lr=0.01, momentum=0.9)
    give_gradients([module], 0)
    optimizer.step()
    twin = copy.deepcopy(module)
    resumed = kind(twin.parameters(), lr=0.01, momentum=0.9)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    give_gradients([module, twin], 1)
    optimizer.step()
    resumed.step()
    assert_same([module, twin])


def test_sign_steps_have_length_lr_in_every_coordinate() -> None:
    parameter = nn.Parameter(torch.zeros(3))
    parameter.grad = torch.tensor([1e-20, -5.0, 0.0])
    ours.SignSGD([parameter], lr=0.5, maximize=True).step()
    assert torch.equal(parameter.detach(), torch.tensor([0.5, -0.5, 0.0]))
