"""Many parameters stepped as one flat tensor: what makes `core.optim.torch_optim` fast on small networks.

Parameters keep their own memory, which the user may exchange at any time; values and gradients are gathered
for each step and the result is scattered back. The rule's state lives in flat tensors for good, and
`optimizer.state` holds views of them.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from core.optim.rule import Rule

LARGE = 1 << 15
"""Elements from which a parameter is stepped alone: its time is memory traffic, to which gathering adds."""

Slots = Mapping[Tensor, dict[str, Any]]
Advance = Callable[[Tensor, Tensor, Any, Mapping[str, Any]], Any]
"""`Rule.advance`, or what does its work."""


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
        self.params = list(params)
        self.dtype, self.device = params[0].dtype, params[0].device
        self.complex = self.dtype.is_complex
        self.alone = len(params) == 1 and rule.elementwise
        reals = self._real(self.params)
        if self.alone:
            layout = reals[0]
        else:
            layout = torch.empty(sum(p.numel() for p in reals), dtype=reals[0].dtype, device=self.device)
            self.values, self.gradients = layout, torch.empty_like(layout)
            self.value_views = self._cut(self.values, reals)
            self.inputs = self.value_views + self._cut(self.gradients, reals)
        self.state = rule.init(layout, state_dtype=layout.dtype, **hyper)._replace(step=step)
        self.steps = torch.full((len(params),), float(step)) if counted else None
        self.slots = [slots[param] if names or counted else {} for param in params]
        self.held: list[tuple[dict[str, Any], str, Tensor]] = []
        for name in names:
            whole = getattr(self.state, name)
            views = [whole] if self.alone else self._cut(whole, reals)
            self._adopt(name, [torch.view_as_complex(v) for v in views] if self.complex else views)
        if self.steps is not None:
            self._adopt("step", list(self.steps.unbind()))
        self.version = 0 if self.steps is None else self.steps._version

    def _adopt(self, name: str, views: list[Tensor]) -> None:
        """Put `views` where torch keeps the state, with the values that are there."""
        for slot, view in zip(self.slots, views, strict=True):
            before = slot.get(name)
            if before is not None:
                view.copy_(before)
            slot[name] = view
            self.held.append((slot, name, view))

    def intact(self, slots: Slots) -> bool:
        """Whether the parameters have their type and device, and `slots` still holds this bundle's views."""
        if self.steps is not None and self.steps._version != self.version:
            return False
        for param, slot in zip(self.params, self.slots, strict=True):
            if param.dtype != self.dtype or param.device != self.device:
                return False
            if self.held and slots[param] is not slot:
                return False
        for slot, name, view in self.held:  # noqa: SIM110 (faster than a generator)
            if slot.get(name) is not view:
                return False
        return True

    def step(self, advance: Advance, settings: Mapping[str, Any]) -> None:
        """One step in place of all parameters; call under `torch.no_grad()`."""
        params = self.params
        gradients = [g.to_dense() if g.is_sparse else g for p in params if (g := p.grad) is not None]
        if self.complex:
            params, gradients = self._real(params), self._real(gradients)
        if self.alone:
            self.state = advance(params[0], gradients[0], self.state, settings)
        else:
            torch._foreach_copy_(self.inputs, params + gradients)
            self.state = advance(self.values, self.gradients, self.state, settings)
            torch._foreach_copy_(params, self.value_views)
        if self.steps is not None:
            self.steps.fill_(self.state.step)  # cheaper than adding 1
            self.version = self.steps._version

    def _real(self, tensors: list[Tensor]) -> list[Tensor]:
        return [torch.view_as_real(t) for t in tensors] if self.complex else tensors

    @staticmethod
    def _cut(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
        pieces = torch.split(flat, [t.numel() for t in like])
        return [piece.view(t.shape) for piece, t in zip(pieces, like, strict=True)]


def make_bundles(
    params: Sequence[Tensor],
    slots: Slots,
    names: Sequence[str],
    *,
    counted: bool,
    rule: Rule,
    hyper: Mapping[str, Any],
) -> list[Bundle]:
    """Bundles of parameters that can be stepped as one, going on from the states that `slots` holds.

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
