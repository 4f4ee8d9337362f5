"""Many parameters stepped as one flat tensor: what makes `core.optim.torch_optim` fast on small networks.

Parameters keep their own memory, which the user may exchange at any time; values and gradients are gathered
for each step and the result is scattered back. The rule's state lives in flat tensors for good, and
`optimizer.state` holds views of them.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import is_
from typing import Any

import torch
from torch import Tensor

from core.optim.ops import IN_PLACE, Ops, Prepared
from core.optim.rule import Rule
from core.optim.state import tensors_of

LARGE = 1 << 15
"""Elements from which a parameter is stepped alone: its time is memory traffic, to which gathering adds."""

Slots = Mapping[Tensor, dict[str, Any]]
Pieces = Mapping[str, Sequence[Tensor]]
Kernel = Callable[[Sequence[Tensor], Sequence[Tensor], Pieces, Mapping[str, Any]], None]
"""`(params, grads, pieces, settings)`: a step of many tensors in place; `pieces` holds the state's tensors by
name, one a parameter, and under `step` the counts after this step."""


class Bundle:
    """Parameters of one type, device and step count.

    Args:
        params: at least one, each with a gradient at every step.
        slots: `optimizer.state`; read for states to go on from, and given views of this bundle's.
        names: of the state's tensors.
        counted: whether `optimizer.state` holds each parameter's `step`, as torch's does for this optimizer.
        rule, hyper: what the state is for; it takes the parameters' type, as torch's does.
        step: steps taken so far.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        slots: Slots,
        names: Sequence[str],
        *,
        counted: bool,
        rule: Rule,
        hyper: Mapping[str, Any],
        step: int,
    ) -> None:
        self.params, self.rule = list(params), rule
        self.dtype, self.device = params[0].dtype, params[0].device
        self.complex = self.dtype.is_complex
        self.alone = len(params) == 1 and rule.elementwise
        reals = self._real(self.params)
        if self.alone:
            layout = reals[0].detach()
        else:
            layout = torch.empty(sum(p.numel() for p in reals), dtype=reals[0].dtype, device=self.device)
            self.values, self.gathered = layout, torch.empty_like(layout)
            self.value_views = self._cut(self.values, reals)
            self.inputs = self.value_views + self._cut(self.gathered, reals)
        exact = layout.dtype in (torch.float32, torch.float64) and self.device.type == "cpu"
        self.ops: Ops = Prepared(layout) if exact else IN_PLACE
        self.state = rule.init(layout, state_dtype=layout.dtype, **hyper)._replace(step=step)
        self.steps = torch.full((len(params),), float(step)) if counted else None
        self.slots = [slots[param] if names or counted else {} for param in params]
        self.pieces: dict[str, list[Tensor]] = {}
        for name in names:
            whole = getattr(self.state, name)
            views = [whole] if self.alone else self._cut(whole, reals)
            self._adopt(name, [torch.view_as_complex(v) for v in views] if self.complex else views)
        if self.steps is not None:
            self._adopt("step", list(self.steps.unbind()))
        self.version = 0 if self.steps is None else self.steps._version
        self.whole = list(tensors_of(self.state).values())
        self.held = list(chain.from_iterable(slot.values() for slot in self.slots))

    def _adopt(self, name: str, views: list[Tensor]) -> None:
        """Put `views` where torch keeps the state, with the values that are there."""
        self.pieces[name] = views
        for slot, view in zip(self.slots, views, strict=True):
            before = slot.get(name)
            if before is not None:
                view.copy_(before)
            slot[name] = view

    def gradients(self) -> list[Tensor] | None:
        """Of all parameters, one of any shape `[...]` each; None if one of them has none."""
        found = [g for p in self.params if (g := p.grad) is not None]
        return found if len(found) == len(self.params) else None

    def intact(self) -> bool:
        """Whether the parameters have their type and device, and the slots still hold this bundle's views."""
        if self.steps is not None and self.steps._version != self.version:
            return False
        dtype, device = self.dtype, self.device
        for param in self.params:
            if param.dtype is not dtype or param.device != device:
                return False
        return same_objects(list(chain.from_iterable(map(dict.values, self.slots))), self.held)

    def step(self, gradients: list[Tensor], settings: Mapping[str, Any]) -> None:
        """One step in place of all parameters `[...]` by the rule's formula; call under `torch.no_grad()`."""
        params = self.params
        if any([g.is_sparse for g in gradients]):  # noqa: C419 (faster than a generator)
            gradients = [g.to_dense() for g in gradients]
        if self.complex:
            params, gradients = self._real(params), self._real(gradients)
        advance = self.rule.advance
        if self.alone:
            self.state = advance(params[0], gradients[0], self.state, settings, self.ops)
        else:
            torch._foreach_copy_(self.inputs, params + gradients)
            self.state = advance(self.values, self.gathered, self.state, settings, self.ops)
            torch._foreach_copy_(params, self.value_views)
        self._count()

    def step_by(self, kernel: Kernel, gradients: list[Tensor], settings: Mapping[str, Any]) -> None:
        """`step` of parameters `[...]` by a kernel that goes through memory as it lies; where it lies
        otherwise, by the formula."""
        if all([t.is_contiguous() for t in chain(self.params, gradients, self.whole)]):  # noqa: C419
            self.state = self.state._replace(step=self.state.step + 1)
            self._count()
            kernel(self.params, gradients, self.pieces, settings)
        else:
            self.step(gradients, settings)

    def _count(self) -> None:
        if self.steps is not None:
            self.steps.fill_(self.state.step)  # cheaper than adding 1
            self.version = self.steps._version

    def _real(self, tensors: list[Tensor]) -> list[Tensor]:
        return [torch.view_as_real(t) for t in tensors] if self.complex else tensors

    @staticmethod
    def _cut(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
        pieces = torch.split(flat, [t.numel() for t in like])
        return [piece.view(t.shape) for piece, t in zip(pieces, like, strict=True)]


def same_objects(first: Sequence[object], second: Sequence[object]) -> bool:
    """Whether both hold the same objects in the same order."""
    return len(first) == len(second) and all(map(is_, first, second))


def make_bundles(
    params: Sequence[Tensor],
    slots: Slots,
    names: Sequence[str],
    *,
    counted: bool,
    rule: Rule,
    hyper: Mapping[str, Any],
) -> list[Bundle]:
    """Bundles of parameters, of any shapes `[...]`, that can be stepped as one, going on from the states that
    `slots` holds.

    A rule that is not elementwise gets all that fit together; for the others large parameters stay alone.
    """
    alike: dict[Any, list[Tensor]] = defaultdict(list)
    for param in params:
        step = _steps_taken(slots[param], names, counted) if counted or names else 0
        own = id(param) if rule.elementwise and param.numel() >= LARGE else None
        alike[(param.dtype, param.device, step, own)].append(param)

    return [
        Bundle(members, slots, names, counted=counted, rule=rule, hyper=hyper, step=step)
        for (_, _, step, _), members in alike.items()
    ]


def _steps_taken(slot: Mapping[str, Any], names: Sequence[str], counted: bool) -> int:
    """From torch's count; without one, 1 if there is a state to go on from and 0 if not."""
    if counted:
        return int(slot.get("step", 0))
    return int(any(slot.get(name) is not None for name in names))
