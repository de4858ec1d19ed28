"""WindowLogits: a network's logits of windows, each constant window computed once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from unetr_app.errors import UnusableBundle
from unetr_app.inference.blending import LogitsOf
from unetr_app.inference.memory_plan import measured_growth
from unetr_app.inference.window_plan import Member, Shape, WindowPlan

Network = Callable[[Tensor], Tensor]


class WindowLogits:
    """Runs a network on windows.

    A window whose voxels all have one value in each channel, such as air or padding, gives the same
    logits as any other such window, since a network is a function of its input: it is computed once
    and kept until another value comes.

    Args:
        network_for: Gives, for the shape of windows (1, C, roi_size...) and a member's network,
            what runs them: such a window to logits (1, L, roi_size...). Asked once for each.
        device: Where it runs.
        skip: Compute constant windows once only?
    """

    def __init__(
        self, network_for: Callable[[tuple[int, ...], int], Network], device: torch.device, *,
        skip: bool = True,
    ):  # fmt: skip
        self._network_for = network_for
        self._shape: tuple[int, ...] = ()
        self._networks: dict[int, Network] = {}
        self._device = device
        self._skip = skip
        self._known: dict[int, tuple[tuple[int, ...], tuple[float, ...], Tensor]] = {}
        self._probed: tuple[int, int] | None = None

    def of(self, plan: WindowPlan, image: Tensor) -> LogitsOf:
        """What `unetr_app.inference.blending.blend` asks for.

        Args:
            plan: Where windows lie.
            image: (C, shape...) on the CPU.

        Raises:
            UnusableBundle: If the network gives no logits of a window's shape.
        """

        def logits_of(member: Member, start: Shape) -> Tensor:
            window = plan.cut(image, member, start)
            value = _constant(window) if self._skip else None
            if value is None:
                return plan.place(self._run(window, member.network), member)
            return plan.place(self._run_once(window, value, member.network), member).clone()

        return logits_of

    def probe(self, plan: WindowPlan, channels: int) -> tuple[int, int]:
        """Channels of the logits, and bytes by which the process grows while windows are computed.

        Runs the network on padding, once for each shape of window: on as many windows at a time as
        `streams` says, after which it holds what it keeps, and on one alone, to be counted as
        often, since their peaks may or may not coincide.
        """
        shape = (1, channels, *plan.roi_size)
        for n in range(1 + max(member.network for member in plan.members)):
            self._opened(shape, n)  # which may take more than running it
        if self._probed is None:
            window = torch.full(shape, plan.cval)
            logits: list[Tensor] = []

            def run() -> None:
                with torch.inference_mode():  # which holds for one thread
                    logits.append(self._run(window, 0))

            streams = self.streams(plan, channels)
            if streams > 1:
                _at_a_time(run, streams)
            grown = measured_growth(run)
            self._probed = len(logits[0]), streams * grown
        return self._probed

    def streams(self, plan: WindowPlan, channels: int) -> int:
        """Windows of a plan that all its networks run at a time."""
        shape = (1, channels, *plan.roi_size)
        opened = (self._opened(shape, member.network) for member in plan.members)
        return min(getattr(network, "streams", 1) for network in opened)

    def _run_once(self, window: Tensor, value: tuple[float, ...], network: int) -> Tensor:
        """The logits of a constant window, kept for the next of its value."""
        shape = tuple(window.shape)
        known = self._known.get(network)
        if known is None or known[:2] != (shape, value):
            self._known.pop(network, None)
            known = self._known[network] = (shape, value, self._run(window, network))
        return known[2]

    def _run(self, window: Tensor, network: int) -> Tensor:
        """(1, C, roi_size...) to logits (L, roi_size...) float32 on the CPU."""
        run = self._opened(tuple(window.shape), network)
        try:
            logits = run(self._on_device(window))
        except torch.OutOfMemoryError:
            logits = None  # tried again below, where the error holds no tensors any more
        if logits is None:
            torch.cuda.empty_cache()  # what torch keeps for later may be what lacks
            logits = run(self._on_device(window))
        return _checked(logits, window).float().cpu()[0]

    def _on_device(self, window: Tensor) -> Tensor:
        """On a GPU by way of memory that the system does not move, which is copied faster."""
        if self._device.type != "cuda":
            return window.to(self._device)
        return window.pin_memory().to(self._device, non_blocking=True)

    def _opened(self, shape: tuple[int, ...], network: int) -> Network:
        if self._shape != shape:  # what was opened for another shape is let go
            self._networks.clear()
            self._known.clear()
            self._probed = None
            self._shape = shape
        if network not in self._networks:
            self._networks[network] = self._network_for(shape, network)
        return self._networks[network]


def _at_a_time(work: Callable[[], object], times: int) -> None:
    with ThreadPoolExecutor(times) as pool:
        for done in [pool.submit(work) for _ in range(times)]:
            done.result()


def _constant(window: Tensor) -> tuple[float, ...] | None:
    """The value of each channel, where a window (1, C, ...) has but one a channel."""
    channels = window.flatten(2)[0]
    first = channels[:, :1]
    if not bool((channels[:, -1:] == first).all() and (channels == first).all()):
        return None
    return tuple(first[:, 0].tolist())


def _checked(logits: Tensor, window: Tensor) -> Tensor:
    """Refuse what is no map of logits of the window's own shape."""
    if logits.shape[2:] != window.shape[2:]:
        raise UnusableBundle(
            f"the network gave {tuple(logits.shape)} for a window of {tuple(window.shape)}: they "
            "must have the same voxels",
            cure="Check the config's network_def against the weights.",
        )
    return logits
