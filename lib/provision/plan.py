"""A plan: what will be created or removed, shown before it is carried out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lib import UserError


class ProvisionError(UserError):
    """Something that can't be created, or is not ours to remove."""


@dataclass(frozen=True)
class Step:
    """One resource: what it is, where, its state, what will be done with it, and what it costs."""

    resource: str
    name: str
    state: str
    action: str
    apply: Callable[[], object] | None = None
    cost: str = "free"


@dataclass(frozen=True)
class Plan:
    """The steps of creating or removing everything for a target, in order.

    `header`: what else to know before confirming, labelled.
    `confirmation`: what is said while that is lacking; empty when nothing needs it.
    `closing`: called after the last step, for the last words.
    `resume`: what is said after a step that failed.
    `kept`: what stays though it is ours, said while nothing is carried out.
    """

    target: str
    steps: tuple[Step, ...]
    header: tuple[tuple[str, str], ...] = ()
    confirmation: str = ""
    closing: Callable[[], str] = str
    resume: str = ""
    kept: str = ""

    def __str__(self) -> str:
        rows = [(s.action, s.resource, s.name, s.state, s.cost) for s in self.steps]
        table = [("action", "resource", "name", "state", "cost"), *rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        return "\n".join([labelled(("target", self.target), *self.header), "", *lines])

    @property
    def pending(self) -> tuple[Step, ...]:
        """The steps that would change something."""
        return tuple(step for step in self.steps if step.apply)

    @property
    def how_to_confirm(self) -> str:
        """The words that would carry the plan out."""
        said = self.confirmation if self.pending else "Nothing to do."
        return f"{said}\n{self.kept}".rstrip()

    def apply(self, confirm: bool = False) -> str:
        """Carry the plan out, unless it needs a confirmation that is lacking; say what was done."""
        if not self.pending or (self.confirmation and not confirm):
            return self.how_to_confirm
        done: list[str] = []
        for step in self.pending:
            try:
                step.apply()
            except UserError as error:
                before = f" Done before that: {', '.join(done)}." if done else ""
                raise type(error)(f"{error}{before}{self.resume}") from error
            done.append(f"{step.action} {step.resource} {step.name}")
        return f"Done: {', '.join(done)}.\n{self.closing()}".rstrip()


def labelled(*lines: tuple[str, str]) -> str:
    """Return lines of a label and a text, the texts below one another."""
    width = max(len(label) for label, _ in lines)
    return "\n".join(f"{label:{width}} {text}" for label, text in lines)
