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
    at_hand,
    check_making,
    check_operation,
    compared,
    number_in_bounds,
    size,
    spend,
    whole_size,
)
from pytest_llmeval.inputs.template_costs import slow_cost


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox, with every way to make something long looked at on the way."""

    intercepted_binops = frozenset({"+", "-", "*", "**", "/", "//", "%"})

    def bound_filters(self) -> None:
        """Look at every filter, and test that compares, that there is now; the filters of the
        rewritten template are added.
        """
        self.filters = {name: _bounded(name, each) for name, each in self.filters.items()}
        self.filters.update(
            _each=_each, _spend=_spend, _joined=_joined, _compared=compared, _made=_made
        )
        tests: dict[str, Any] = self.tests
        tests.update({name: _comparing(tests[name]) for name in _COMPARING})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse an operation whose result would be too long."""
        check_operation(operator, left, right)
        return _made(super().call_binop(context, operator, left, right))

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Refuse a method whose result would be too long."""
        method = getattr(called, "__wrapped__", called)  # the sandbox wraps str.format
        owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
        args, kwargs = tuple(map(at_hand, args)), {key: at_hand(kwargs[key]) for key in kwargs}
        given = (*args, *kwargs.values())
        spend(PER_STEP * (1 + len(given) + sum(map(_length, given))))
        spend(slow_cost(name, owner, given))
        if isinstance(owner, str | int):
            check_making(name, owner, given)
        else:
            spend(size(owner))
        if isinstance(owner, list | tuple | dict) or dict in (owner, called):
            for each in (*given, *([owner] if name in _LOOKING_FOR else ())):
                compared(each)
        return _made(super().call(context, called, *args, **kwargs))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Keep bytes out, too: a prompt is text, and bytes have encodings that take for ever."""
        return attr not in _TO_BYTES and super().is_safe_attribute(obj, attr, value)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Refuse a key so large that finding it would take for ever."""
        return super().getitem(obj, compared(argument) if isinstance(argument, tuple) else argument)

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_counted(source, self), *args, **kwargs)


def _length(value: Any) -> int:
    """What a loop over it would take: a text is passed on whole."""
    return 0 if isinstance(value, str) else size(value)


def _made(result: Any) -> Any:
    """What an operator, method, filter or slice has made, which is paid for by its size."""
    spend(size(result))
    return number_in_bounds(result)


def _bounded(name: str, make: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that looks at its value first; some take Jinja2's own things before it."""
    first = 1 if hasattr(make, "jinja_pass_arg") else 0

    @functools.wraps(make)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        args = (*args[:first], *map(at_hand, args[first:]))
        kwargs = {key: at_hand(kwargs[key]) for key in kwargs}
        value, given = args[first], (*args[first + 1 :], *kwargs.values())
        check_making(name, value, given)
        spend(PER_STEP + slow_cost(name, value, given))
        return _made(make(*args, **kwargs))

    return bounded


# In these, all that two values hold may be compared.
_LOOKING_FOR = frozenset({"count", "index"})
_TO_BYTES = frozenset({"encode", "to_bytes", "from_bytes"})
_COMPARING = (
    *("upper", "lower"),
    *("==", "eq", "equalto", "!=", "ne", ">", "gt", "greaterthan", ">=", "ge"),
    *("<", "lt", "lessthan", "<=", "le", "in"),
)


def _comparing(test: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(test)
    def bounded(*args: Any) -> Any:
        return test(*map(compared, args))

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
    _Rewritten().visit(tree)
    tree.set_environment(environment)
    return tree


class _Rewritten(NodeTransformer):
    """Puts a filter in the place of `~`, and before what is compared or becomes a key."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered("_joined", nodes.List(node.nodes, lineno=node.lineno), node.lineno)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _filtered("_compared", node.expr, node.lineno)
        for operand in node.ops:
            operand.expr = _filtered("_compared", operand.expr, node.lineno)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        is_slice = isinstance(node.arg, nodes.Slice) and node.ctx == "load"
        return _filtered("_made", node, node.lineno) if is_slice else node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.key = _filtered("_compared", node.key, node.lineno)
        return node


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
