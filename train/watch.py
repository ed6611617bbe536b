"""Watching the masks: with collapsed ones, days of training bring nothing, and no loss says so."""

from __future__ import annotations

from collections import deque

from maskanim.errors import MaskanimError
from maskanim.train.settings import MaskWatch

# What kept masks alive in trials with drawn and real clips; the last is what the released code does.
REMEDIES = (
    "What usually helps: warmup.gain_steps (e.g. 1000), mask_head_rate (e.g. 0.1), a lower learning_rate, "
    "or a fixed model.perturbation.threshold"
)


class CollapseWatch:
    """Follows the figures of the masks from step to step."""

    def __init__(self, settings: MaskWatch) -> None:
        self.settings = settings
        self._recent: deque[tuple[float, float]] = deque(maxlen=settings.window)
        self._since: int | None = None

    def see(self, step: int, mean: float, deviation: float) -> str | None:
        """Take in the figures of a step; returns a warning when the masks have just collapsed.

        Raises:
            MaskanimError: they have stayed so for longer than the settings' patience.
        """
        self._recent.append((mean, deviation))
        if len(self._recent) < self.settings.window:
            return None
        collapsed = self._collapsed()
        if not collapsed:
            self._since = None
            return None
        if self._since is None:
            self._since = step
            return self._warning(collapsed)
        patience = self.settings.patience
        if patience is not None and step - self._since >= patience:
            subject = f"the masks of m at step {step}"
            expected = "masks that show something"
            raise MaskanimError(subject, f"{collapsed} since step {self._since}", expected, REMEDIES)
        return None

    def _collapsed(self) -> str:
        """What is wrong with the last masks on average, with the figures; empty where nothing is."""
        settings = self.settings
        mean, deviation = (sum(column) / len(column) for column in zip(*self._recent, strict=True))
        told = f"mean {mean:.4f}, deviation {deviation:.4f} over {len(self._recent)} steps"
        if mean < settings.least_mean:
            return f"collapsed to zero ({told})"
        if mean > settings.greatest_mean:
            return f"saturated ({told})"
        if deviation < settings.least_deviation:
            return f"flat, the same everywhere ({told})"
        return ""

    def _warning(self, collapsed: str) -> str:
        patience = self.settings.patience
        stop = "" if patience is None else f" If they stay so for {patience} steps, training stops."
        return f"warning: the masks of m are {collapsed}.{stop} {REMEDIES}."
