"""A plan: what will be created or removed, shown before it is applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lib import UserError


class ProvisionError(UserError):
    """Something that can't be created, or is not ours to remove."""


@dataclass(frozen=True)
class Step:
    """What is done with one resource: create, update, keep, delete or none, and what it costs."""

    resource: str
    name: str
    state: str
    action: str
    apply: Callable[[], object] | None = None
    cost: str = "free"


@dataclass(frozen=True)
class Plan:
    """The steps that create or remove everything for a target, in order.

    `header`: what else to know before confirming, as pairs of label and text.
    `confirmation`: how to confirm; empty when the plan needs no confirmation.
    `check`: called before the first step. `closing`: called after the last one, for a last text.
    `resume`: what to do after a step that failed. `kept`: what stays though it is ours.
    """

    target: str
    steps: tuple[Step, ...]
    header: tuple[tuple[str, str], ...] = ()
    confirmation: str = ""
    check: Callable[[], object] = str
    closing: Callable[[], str] = str
    resume: str = ""
    kept: str = ""

    def __str__(self) -> str:
        rows = [(s.action, s.resource, s.name, s.state, s.cost) for s in self.steps]
        table = [("action", "resource", "name", "state", "cost"), *rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        return "\n".join([align_labels(("target", self.target), *self.header), "", *lines])

    @property
    def pending(self) -> tuple[Step, ...]:
        """The steps that would change something."""
        return tuple(step for step in self.steps if step.apply)

    @property
    def how_to_confirm(self) -> str:
        """What to do so that the plan is applied."""
        text = self.confirmation if self.pending else "Nothing to do."
        return f"{text}\n{self.kept}".rstrip()

    def apply(self, confirm: bool = False) -> str:
        """Apply the steps, unless a confirmation is needed and lacking; return what was done.

        Raises the error of a step that failed, with what was done before it.
        """
        if not self.pending or (self.confirmation and not confirm):
            return self.how_to_confirm
        self.check()
        done: list[str] = []
        for step in self.pending:
            try:
                step.apply()
            except UserError as error:
                before = f" Done before that: {', '.join(done)}." if done else ""
                raise type(error)(f"{error}{before}{self.resume}") from error
            done.append(f"{step.action} {step.resource} {step.name}")
        return f"Done: {', '.join(done)}.\n{self.closing()}".rstrip()


def align_labels(*lines: tuple[str, str]) -> str:
    """Return one line for each pair of label and text, with the texts aligned."""
    width = max(len(label) for label, _ in lines)
    return "\n".join(f"{label:{width}} {text}" for label, text in lines)
