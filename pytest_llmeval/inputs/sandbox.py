"""Jinja2's sandbox, which keeps a template from Python, in bounds, which keep it from the machine.

`{{ 'a' * 10**9 }}` and loops within loops are no escape, and still the end of a run. Operators,
methods and filters are looked at before they make what is too long (`template_bounds`); loops,
macros and `~`, which Jinja2 compiles to Python of their own, are counted by a rewritten template.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from jinja2 import nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from pytest_llmeval.inputs.template_bounds import (
    PER_STEP,
    check_making,
    check_operation,
    size,
    spend,
    whole_size,
)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox, with every way to make something long looked at on the way."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def bound_filters(self) -> None:
        """Look at every filter that there is now; those of the rewritten template are added."""
        self.filters = {name: _bounded(name, each) for name, each in self.filters.items()}
        self.filters.update(_each=_each, _spend=_spend, _joined=_joined)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse an operation whose result would be too long."""
        check_operation(operator, left, right)
        result = super().call_binop(context, operator, left, right)
        spend(size(result))
        return result

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Refuse a method whose result would be too long."""
        method = getattr(called, "__wrapped__", called)  # the sandbox wraps str.format
        owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
        given = (*args, *kwargs.values())
        if isinstance(owner, str | bytes | int):
            check_making(name, owner, given)
        spend(PER_STEP * (1 + sum(map(_length, given))) + size(owner))
        result = super().call(context, called, *args, **kwargs)
        spend(size(result))
        return result

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_counted(source, self), *args, **kwargs)


def _length(value: Any) -> int:
    """What a loop over it would take: a text is passed on whole."""
    return 0 if isinstance(value, str) else size(value)


def _bounded(name: str, make: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that looks at its value first; some take Jinja2's own things before it."""
    first = 1 if hasattr(make, "jinja_pass_arg") else 0

    @functools.wraps(make)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        value, given = args[first], (*args[first + 1 :], *kwargs.values())
        check_making(name, value, given)
        spend(PER_STEP + size(value))
        result = make(*args, **kwargs)
        spend(size(result))
        return result

    return bounded


# The rewritten template ---------------------------------------------------------------------------


def _counted(tree: nodes.Template, environment: BoundedEnvironment) -> nodes.Template:
    for loop in list(tree.find_all(nodes.For)):
        cost = nodes.Const(_written_in(loop))
        loop.iter = _filtered("_each", cast("nodes.Expr", loop.iter), loop.lineno, cost)
    macros: list[nodes.Macro | nodes.CallBlock] = list(tree.find_all(nodes.Macro))
    for macro in [*macros, *tree.find_all(nodes.CallBlock)]:
        spent = _filtered("_spend", nodes.Const(_written_in(macro)), macro.lineno)
        macro.body.insert(0, nodes.ExprStmt(spent, lineno=macro.lineno))
    _Joins().visit(tree)
    tree.set_environment(environment)
    return tree


class _Joins(NodeTransformer):
    """Puts a filter in the place of `~`."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered("_joined", nodes.List(node.nodes, lineno=node.lineno), node.lineno)


def _filtered(name: str, value: nodes.Expr, line: int, *given: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(value, name, list(given), [], None, None, lineno=line)


def _written_in(node: nodes.Node) -> int:
    """The characters of a body, which Jinja2 writes without asking anybody."""
    texts = [each.data for each in node.find_all(nodes.TemplateData)]
    texts += [each.value for each in node.find_all(nodes.Const) if isinstance(each.value, str)]
    return sum(map(len, texts))


def _each(values: Iterable[Any], written: int) -> Iterable[Any]:
    """What a loop goes through, each turn counted; as long as it was, for `loop.length`."""
    return _Turns(values, written) if hasattr(values, "__len__") else _turns(values, written)


def _turns(values: Iterable[Any], written: int) -> Iterator[Any]:
    for value in values:
        spend(PER_STEP + written)
        yield value


class _Turns:
    def __init__(self, values: Any, written: int):
        self._values, self._written = values, written

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        return _turns(self._values, self._written)


@pass_context  # so that it is not computed once and for all, when the template is compiled
def _spend(context: Context, cost: int) -> None:  # noqa: ARG001
    spend(PER_STEP + cost)


def _joined(values: list[Any]) -> str:
    spend(PER_STEP + sum(map(whole_size, values)))
    return "".join(map(str, values))
