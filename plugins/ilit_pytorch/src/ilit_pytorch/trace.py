"""One forward pass that finds out how a model hangs together: its ops, its stubs, and what lies between stubs.

Activations that leave a stub carry a mark through every function they go into, so that what a stub's output reaches
is seen and not guessed from the order of modules.
"""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import torch
import torch.ao.nn.intrinsic as fused
import torch.ao.nn.quantized as torch_quantized
from torch.ao.quantization import DeQuantStub
from torch.ao.quantization import QuantStub as TorchQuantStub
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.utils._pytree import tree_iter, tree_map

from ilit.errors import DataError, ModelError
from ilit.space import CalibrationSize
from ilit_pytorch.batch import batches_of, call, check_input, first_rows, model_input, reached, rows_of, tensors_in
from ilit_pytorch.clone import leave_fast_path, structural_clone
from ilit_pytorch.modules.activation import LOOKING_ATTRIBUTES, LOOKING_METHODS
from ilit_pytorch.modules.stub import QuantStub
from ilit_pytorch.ops import inner_op, is_fused, op_kind, why_float
from ilit_pytorch.weights import Watch, watch_weights

TRACED_ROWS = 2  # of a batch; one row might be squeezed away

logger = logging.getLogger("ilit.pytorch")


@dataclass(frozen=True)
class Site:
    """Where an op stands.

    Attributes:
        kind: ``linear``, ``conv1d``, ``conv2d``, ``conv3d`` or ``embedding``.
        relu: the module is torch's fused form with ReLU.
        source: path of the ilit ``QuantStub`` whose output is its input, empty where it quantizes for itself.
        island: number of the island between torch's stubs that it lies in, -1 outside.
        computed: its weight is computed before or in each forward, from other parameters.
        computing: which of the op's forward pre-hooks do so, in the order they run.
    """

    kind: str
    relu: bool = False
    source: str = ""
    island: int = -1
    computed: bool = False
    computing: tuple[int, ...] = ()

    @property
    def channel_axis(self) -> int | None:
        """Axis of the input's channels, counted from the end; None where they are of no use."""
        if self.island >= 0 or self.kind == "embedding":
            return None
        return -1 if self.kind == "linear" else -1 - int(self.kind[len("conv")])


@dataclass(frozen=True)
class Island:
    """What lies between torch's ``QuantStub``s and ``DeQuantStub``s and is joined by data, by module path."""

    stubs: tuple[str, ...]
    ops: tuple[str, ...]
    others: tuple[str, ...]
    functionals: tuple[str, ...]


@dataclass(frozen=True)
class Structure:
    """What one forward pass showed.

    Attributes:
        sites: op path -> where it stands, in the order of first use.
        shared: path of an ilit ``QuantStub`` -> paths of the ops that read it, where it is read by ops only.
        leaky: paths of ilit ``QuantStub``s whose output also reaches something that cannot read codes.
        islands: the islands, ``Site.island`` counts them.
        dequant_stubs: paths of torch's ``DeQuantStub``s.
        left: paths of modules of a quantizable kind that stay in float -> why.
    """

    sites: dict[str, Site]
    shared: dict[str, tuple[str, ...]] = field(default_factory=dict)
    leaky: tuple[str, ...] = ()
    islands: tuple[Island, ...] = ()
    dequant_stubs: tuple[str, ...] = ()
    left: dict[str, str] = field(default_factory=dict)

    def input_of(self, name: str) -> str:
        """Return the name that calibration gives the activation op ``name`` reads."""
        source = self.sites[name].source
        return f"{source}:out" if source else f"{name}:in"

    def readers_of(self, name: str) -> tuple[str, ...]:
        """Return the ops that read what op ``name`` reads, itself included."""
        source = self.sites[name].source
        return self.shared[source] if source else (name,)


def trace(model: torch.nn.Module, example: Any) -> Structure:
    """Run the model once on one batch and return its structure.

    A few of the batch's rows tell as much as all of them, where the model takes so few.

    Raises:
        DataError: the batch is not a pair, or its keys do not fit the forward's parameters.
        ModelError: the forward raised.
    """
    seen = _first_pass(model, example)
    return replace(seen.structure(), left={**seen.left, **_left(seen, "the batch looked at does not reach it")})


def trace_all(model: torch.nn.Module, batches: Iterable[Any], sizes: Sequence[CalibrationSize]) -> Structure:
    """Return what ``trace`` does of the first batch, and what further batches add where it does not call every op.

    A mixture of experts sends few of its rows to each. Batches are taken until all that could be ops were called, and
    no more than the longest of ``sizes`` takes.

    Raises:
        DataError: as ``trace``, or there is no batch.
        ModelError: the forward raised.
    """
    seen, passes, rows = _Seen(), list[list[str]](), 0
    for number, batch in enumerate(batches_of(batches, "calibration"), start=1):
        found = _first_pass(model, batch) if number == 1 else _pass(model, batch, number)
        seen = found if number == 1 else seen.merge(found)
        passes.append(list(found.kinds))
        rows += rows_of(model_input(batch))
        if not seen.uncalled() or all(reached(size, rows, number) for size in sizes):
            break
    if len(passes) > 1:
        seen.kinds = {name: seen.kinds[name] for name in _in_order(passes, model)}
    return replace(seen.structure(), left={**seen.left, **_left(seen, "no calibration batch reaches it")})


def _first_pass(model: torch.nn.Module, example: Any) -> _Seen:
    refuse_form(model)
    if op_kind(structural_clone(model)) is not None:
        raise ModelError(f"the model is a single {type(model).__name__}; put it into a torch.nn.Sequential")
    inputs = model_input(example)
    check_input(model, inputs)
    few = first_rows(inputs, TRACED_ROWS)
    seen = None if few is None else _tried(model, few)
    return seen or _pass(model, example, 1)


def _pass(model: torch.nn.Module, batch: Any, number: int) -> _Seen:
    """Return what a pass over a whole batch shows, or say which one the model does not take."""
    inputs = model_input(batch)
    check_input(model, inputs)
    try:
        return _traced(model, inputs)
    except (DataError, ModelError):
        raise
    except Exception as error:
        first_line = str(error).strip().split("\n")[0]
        if isinstance(error, TypeError) and isinstance(inputs, list | tuple) and "positional argument" in first_line:
            first_line += ", and a list or tuple is given as positions: where the forward takes it whole, give ([...],)"
        which = "the first batch" if number == 1 else f"batch {number} of the calibration data"
        raise ModelError(
            f"{type(model).__name__} raised on {which}: {type(error).__name__}: {first_line}; "
            "run model(**input) or model(*input) on what the loader yields"
        ) from error


def refuse_form(model: torch.nn.Module) -> None:
    """Refuse a model that comes in a form which cannot be tuned, with what to give instead.

    Raises:
        ModelError: it is scripted or traced, or its weights are in half precision.
    """
    kind = type(model).__name__
    if isinstance(model, torch.jit.ScriptModule):
        name = getattr(model, "original_name", kind)
        raise ModelError(f"{name} is scripted or traced, so its layers cannot be replaced; give the eager model")
    if hasattr(model, "ilit"):
        raise ModelError(f"{kind} has an attribute 'ilit': it is tuned already, or uses our name; give the float model")
    eager = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
    dotted = next((name for module in eager for name in module._modules if "." in name), None)  # noqa: SLF001 - no public name
    if dotted is not None:
        raise ModelError(f"{kind}: the module name {dotted!r} has a dot, so that no path leads to it; rename it")
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        raise ModelError(f"{kind} has weights without values (on the device 'meta'); load them first")
    weights = [p.dtype for p in model.parameters() if p.is_floating_point() and p.ndim > 1]
    halves = {torch.bfloat16, torch.float16, torch.float64}
    if weights and all(dtype in halves for dtype in weights):
        found = str(weights[0]).removeprefix("torch.")
        raise ModelError(f"{kind} has its weights in {found}; give model.float(), and inputs in float32 to go with it")


def _tried(model: torch.nn.Module, inputs: Any) -> _Seen | None:
    """Return what a pass over few rows shows, None where it fails or leaves an op uncalled that others may call."""
    try:
        seen = _traced(model, inputs)
    except Exception as error:  # noqa: BLE001 - the whole batch decides, and says what is wrong
        logger.info("the model does not take %d rows, so it is traced on a batch: %s", TRACED_ROWS, error)
        return None
    return None if seen.uncalled() else seen


def _left(seen: _Seen, unreached: str) -> dict[str, str]:
    """Return the ops that were not called, and why."""
    uncalled = dict.fromkeys(seen.uncalled(), unreached)
    return {**uncalled, **dict.fromkeys(seen.never, "torch.nn.MultiheadAttention reads its weight and never calls it")}


def _traced(model: torch.nn.Module, inputs: Any) -> _Seen:
    clone = structural_clone(model)
    leave_fast_path(clone)
    seen = _Seen()
    _watch(clone, seen)
    with torch.no_grad():
        outputs = call(clone, inputs)
        seen.leaky.update(_marks(outputs) & seen.shared)
        _leave_unsettled(clone, inputs, seen)
    return seen


def _leave_unsettled(clone: torch.nn.Module, inputs: Any, seen: _Seen) -> None:
    """Leave ops in float whose weight is computed in a way that no one weight stands for."""
    computed = {name: watch for name, watch in seen.watches.items() if name in seen.kinds and watch.computed}
    if not computed:
        return
    before = {name: watch.values() for name, watch in computed.items()}
    try:
        call(clone, tree_map(_reversed_rows, inputs))
    except Exception as error:  # noqa: BLE001 - the model need not take its rows in another order
        logger.info("whether weights differ from forward to forward cannot be seen: %s", error)
    for name, watch in computed.items():
        if watch.also_input:
            seen.left[name] = "a forward pre-hook computes its weight and changes its input"
        elif any(not torch.equal(one, other) for one, other in zip(before[name], watch.values(), strict=True)):
            seen.left[name] = "its weight differs from forward to forward"


def _reversed_rows(leaf: Any) -> Any:
    return leaf.flip(0) if isinstance(leaf, torch.Tensor) and leaf.ndim else leaf


class Marked(torch.Tensor):
    """A tensor that remembers which stubs it comes from, through every function applied to it."""

    marks: frozenset[str]
    seen: _Seen

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``func`` and mark what comes out with the marks of what went in."""
        kwargs = kwargs or {}
        marked = [leaf for leaf in tree_iter((args, kwargs)) if isinstance(leaf, Marked)]
        with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001 - the documented way to run the plain function
            output = func(*args, **kwargs)
        seen, name = marked[0].seen, getattr(func, "__name__", "")
        attribute = getattr(getattr(func, "__self__", None), "__name__", "") if name == "__get__" else ""
        if name in LOOKING_METHODS or name == "__len__" or attribute in LOOKING_ATTRIBUTES:
            return output
        if not seen.reading:
            seen.leaky.update(mark for leaf in marked for mark in leaf.marks & seen.shared)
        islands = frozenset().union(*(leaf.marks for leaf in marked)) - seen.shared
        seen.join(islands)
        return tree_map(lambda leaf: mark(leaf, islands, seen), output) if islands else tree_map(_plain, output)


def mark(value: Any, marks: frozenset[str], seen: _Seen) -> Any:
    """Return a tensor marked, anything else as it is."""
    if not isinstance(value, torch.Tensor):
        return value
    marked = value.as_subclass(Marked)
    marked.marks, marked.seen = marks, seen
    return marked


def _plain(value: Any) -> Any:
    return value.as_subclass(torch.Tensor) if isinstance(value, Marked) else value


@dataclass
class _Seen:
    """What the pass has shown so far."""

    kinds: dict[str, tuple[str, bool]] = field(default_factory=dict)
    marks: dict[str, list[frozenset[str]]] = field(default_factory=dict)
    others: dict[str, frozenset[str]] = field(default_factory=dict)
    functionals: dict[str, frozenset[str]] = field(default_factory=dict)
    stubs: list[str] = field(default_factory=list)
    shared: set[str] = field(default_factory=set)
    leaky: set[str] = field(default_factory=set)
    joined: dict[str, str] = field(default_factory=dict)
    dequant_stubs: list[str] = field(default_factory=list)
    ops: list[str] = field(default_factory=list)
    hooked: set[str] = field(default_factory=set)
    never: set[str] = field(default_factory=set)
    watches: dict[str, Watch] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    reading: int = 0  # ops whose forward is running: what they do with an activation is theirs

    def join(self, marks: frozenset[str]) -> None:
        """Note that these stubs' activations meet, so that they are one island."""
        roots = sorted({self.root(mark) for mark in marks})
        for root in roots[1:]:
            self.joined[root] = roots[0]

    def uncalled(self) -> list[str]:
        """Return the ops that were not called and that a forward could call."""
        return [name for name in self.ops if name not in self.kinds]

    def merge(self, later: _Seen) -> _Seen:
        """Add what a pass over another batch has shown; new ops come last."""
        self.watches.update((name, later.watches[name]) for name in later.kinds if name not in self.kinds)
        self.left.update(later.left)
        self.hooked |= later.hooked
        self.kinds = {**self.kinds, **later.kinds}
        for name, all_marks in later.marks.items():
            self.marks.setdefault(name, []).extend(all_marks)
        for ours, theirs in ((self.others, later.others), (self.functionals, later.functionals)):
            for name, marks in theirs.items():
                ours[name] = ours.get(name, frozenset()) | marks
        self.leaky |= later.leaky
        for stub in later.joined:
            self.join(frozenset({stub, later.root(stub)}))
        return self

    def root(self, stub: str) -> str:
        """Return the stub that stands for the island of this one."""
        while stub in self.joined:
            stub = self.joined[stub]
        return stub

    def structure(self) -> Structure:
        """Return what was seen as a frozen value."""
        uses = (frozenset().union(*all_marks) for all_marks in self.marks.values())
        for marks in (*uses, *self.others.values(), *self.functionals.values()):
            self.join(marks - self.shared)  # a module has one lowered form, so the islands that use it are one
        for all_marks in self.marks.values():
            sources = {marks & self.shared for marks in all_marks}
            if len(sources) > 1:  # fed by different stubs in different calls: it cannot rely on either
                self.leaky.update(stub for source in sources for stub in source)
        for name in self.hooked & self.marks.keys():  # hooks are for tensors, and so are given none shared
            self.leaky.update(stub for marks in self.marks[name] for stub in marks & self.shared)
        roots = list(dict.fromkeys(self.root(stub) for stub in self.stubs))
        number = {root: index for index, root in enumerate(roots)}
        sites = {
            name: self._site(name, number) for name in self.kinds if name not in self.left and self._consistent(name)
        }
        shared = {
            stub: tuple(name for name, site in sites.items() if site.source == stub)
            for stub in sorted(self.shared - self.leaky)
        }

        def inside(found: dict[str, frozenset[str]], root: str) -> tuple[str, ...]:
            return tuple(n for n, marks in found.items() if any(self.root(m) == root for m in marks))

        islands = tuple(
            Island(
                stubs=tuple(stub for stub in self.stubs if self.root(stub) == root),
                ops=tuple(name for name, site in sites.items() if site.island == number[root]),
                others=inside(self.others, root) + self._inconsistent(root),
                functionals=inside(self.functionals, root),
            )
            for root in roots
        )
        return Structure(sites, shared, tuple(sorted(self.leaky)), islands, tuple(self.dequant_stubs), dict(self.left))

    def _consistent(self, name: str) -> bool:
        """A module used both inside and outside an island has no one form."""
        inside = {bool(marks - self.shared) for marks in self.marks[name]}
        return len(inside) == 1

    def _inconsistent(self, root: str) -> tuple[str, ...]:
        mixed = (name for name in self.kinds if not self._consistent(name))
        return tuple(n for n in mixed if any(self.root(m) == root for marks in self.marks[n] for m in marks))

    def _site(self, name: str, number: dict[str, int]) -> Site:
        kind, relu = self.kinds[name]
        all_marks = self.marks[name]
        source = next(iter(all_marks[0] & self.shared - self.leaky), "")
        islands = {self.root(mark) for marks in all_marks for mark in marks - self.shared}
        watch = self.watches[name]
        island = number[min(islands)] if islands else -1
        return Site(kind, relu, source, island, watch.computed, tuple(sorted(watch.computing)))


def _in_order(passes: Sequence[Sequence[str]], model: torch.nn.Module) -> list[str]:
    """Return the ops of several passes so that each comes where all passes say, else as the model holds them."""
    place = {name: number for number, (name, _) in enumerate(model.named_modules())}
    sorter: TopologicalSorter[str] = TopologicalSorter({name: () for names in passes for name in names})
    for before, after in itertools.chain.from_iterable(map(itertools.pairwise, passes)):
        sorter.add(after, before)
    try:
        sorter.prepare()
    except CycleError:  # the order differs from batch to batch
        return sorted({name for names in passes for name in names}, key=place.__getitem__)
    waiting: list[tuple[int, str]] = []
    ordered = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(waiting, (place[name], name))
        ordered.append(heapq.heappop(waiting)[1])
        sorter.done(ordered[-1])
    return ordered


def _watch(clone: torch.nn.Module, seen: _Seen) -> None:
    """Put hooks on every stub, op, leaf and FloatFunctional of the clone."""
    inside_op: set[int] = set()
    for name, module in clone.named_modules():
        if id(module) in inside_op:
            continue
        if not is_fused(module) and (reason := why_float(module)):
            seen.left[name] = reason
        if op_kind(module) is not None:
            inside_op.update(id(child) for child in module.modules())
            _watch_op(name, module, seen)
        elif isinstance(module, QuantStub):
            seen.shared.add(name)
            seen.leaky |= {name} if has_hooks(module) else set()
            module.register_forward_hook(_mark_output(name, seen))
        elif isinstance(module, TorchQuantStub):
            inside_op.update(id(child) for child in module.modules())
            seen.stubs.append(name)
            module.register_forward_hook(_mark_output(name, seen))
        elif isinstance(module, DeQuantStub):
            seen.dequant_stubs.append(name)
            module.register_forward_hook(lambda _module, _args, output: tree_map(_plain, output))
        elif isinstance(module, torch_quantized.FloatFunctional):
            inside_op.update(id(child) for child in module.modules())
            module.activation_post_process.register_forward_pre_hook(_note(name, seen.functionals))
            _note_scalar_calls(name, module, seen)
        elif _is_leaf(module):
            inside_op.update(id(child) for child in module.modules())
            module.register_forward_pre_hook(_note(name, seen.others))


def _is_leaf(module: torch.nn.Module) -> bool:
    """Whether a module's inside is of no interest; a scripted one takes no hooks."""
    if isinstance(module, torch.jit.ScriptModule):
        return False
    return type(module) in (fused.BNReLU2d, fused.BNReLU3d) or next(module.children(), None) is None


def _watch_op(name: str, module: torch.nn.Module, seen: _Seen) -> None:
    kind = str(op_kind(module))
    if isinstance(inner_op(module), NonDynamicallyQuantizableLinear):  # torch's own code reads its weight
        seen.never.add(name)
    else:
        seen.ops.append(name)
    seen.watches[name] = watch_weights(inner_op(module))
    if has_hooks(module):
        seen.hooked.add(name)
    module.register_forward_pre_hook(_note_op(name, kind, is_fused(module), seen), with_kwargs=True)
    module.register_forward_hook(_note_end(seen), always_call=True)


def has_hooks(module: torch.nn.Module) -> bool:
    """Return whether forward hooks or pre-hooks stand on a module."""
    return bool(module._forward_hooks or module._forward_pre_hooks)  # noqa: SLF001 - no public name


def _note_op(name: str, kind: str, relu: bool, seen: _Seen) -> Callable[..., None]:
    def hook(_module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        seen.reading += 1
        if all(tensor.numel() for tensor in tensors_in((args, kwargs))):  # else no row was sent to it
            seen.kinds[name] = (kind, relu)
            seen.marks.setdefault(name, []).append(_marks((args, kwargs)))

    return hook


def _note_end(seen: _Seen) -> Callable[..., None]:
    def hook(_module: torch.nn.Module, _args: Any, _output: Any) -> None:
        seen.reading -= 1

    return hook


def _note(name: str, found: dict[str, frozenset[str]]) -> Callable[..., None]:
    def hook(_module: torch.nn.Module, args: Any) -> None:
        marks = _marks(args)
        if marks:
            found[name] = found.get(name, frozenset()) | marks

    return hook


def _note_scalar_calls(name: str, module: Any, seen: _Seen) -> None:
    """Note ``add_scalar`` and ``mul_scalar``, whose result torch does not hand to ``activation_post_process``."""
    note = _note(name, seen.functionals)

    def noted(plain: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def call(*args: Any) -> torch.Tensor:
            note(module, args)
            return plain(*args)

        return call

    for method in ("add_scalar", "mul_scalar"):
        object.__setattr__(module, method, noted(getattr(module, method)))


def _mark_output(name: str, seen: _Seen) -> Callable[..., Any]:
    def hook(_module: torch.nn.Module, _args: Any, output: Any) -> Any:
        return mark(_plain(output), frozenset({name}), seen)

    return hook


def _marks(value: Any) -> frozenset[str]:
    return frozenset().union(*(leaf.marks for leaf in tree_iter(value) if isinstance(leaf, Marked)))
