"""Constraints on an agent's attributes and name: `zone==a`, `rack~r[12]`, `cores>=16`, `hostname!=node7`.

Pure; used by the broker and the command line. The text is the user's: a bad one is a UsageError that names it.

    NAME==VALUE  NAME!=VALUE        equal, or not; as numbers where both are numbers ("=" is read as "==")
    NAME~REGEX   NAME!~REGEX        the whole value matches, or does not
    NAME<N  NAME<=N  NAME>N  NAME>=N

An attribute that an agent does not have satisfies only the two negative forms. Of an attribute with several values
(or a range) one has to match, and for the negative forms none may. `host` and `hostname` are the agent's name, where
== and != know short and qualified names as ssh's users expect.
"""

import operator
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from roujiamo.errors import UsageError
from roujiamo.mesos.offers import Attributes, AttributeValue
from roujiamo.session.names import HostNames, is_named

_FORM = re.compile(r"\s*([^\s=!~<>]+)\s*(==|!=|!~|<=|>=|=|~|<|>)\s*([^\s=](?:.*\S)?)\s*")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NEGATIVE = ("!=", "!~")
_HOST_NAMES = ("host", "hostname")
_MAX_REMEMBERED = 10_000


class Constraint(NamedTuple):
    """One constraint; `text` is what the user wrote."""

    text: str
    name: str
    sign: str
    operand: str
    matches_value: Callable[[AttributeValue], bool]

    def is_met_by(self, hostname: str, attributes: Attributes) -> bool:
        """True where an agent of this name with these attributes may be used."""
        return self.is_met_by_values(
            (hostname,) if self.name in _HOST_NAMES else attributes.get(self.name, ())
        )

    def is_met_by_values(self, values: tuple[AttributeValue, ...]) -> bool:
        """True where an attribute of these values (none, if the agent lacks it) satisfies the constraint."""
        return any(map(self.matches_value, values)) != (self.sign in _NEGATIVE)


def parse_constraint(text: str) -> Constraint:
    """Read one constraint, or raise UsageError with what is wrong with it."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(
            f"the constraint {text!r} is not of the form NAME==VALUE, NAME!=VALUE, NAME~REGEX, NAME!~REGEX"
            " or NAME>=NUMBER"
        )
    name, sign, operand = match.groups()
    test: Callable[[AttributeValue], bool]
    if sign in _COMPARE:
        number = _number(operand)
        if number is None:
            raise UsageError(f"the constraint {text!r} compares with {operand!r}, which is not a number")
        test = _comparison(_COMPARE[sign], number)
    elif sign in ("~", "!~"):
        try:
            pattern = re.compile(operand)
        except re.error as error:
            raise UsageError(f"the constraint {text!r} has a bad regular expression: {error}") from error
        test = _pattern_test(pattern)
    elif name in _HOST_NAMES:
        test = _name_test(operand)
    else:
        test = _equality(operand)
    return Constraint(text.strip(), name, sign, operand, test)


class Matcher:
    """All constraints of a request, made for many agents: a value that was seen before is not tested again."""

    def __init__(self, constraints: Iterable[Constraint]) -> None:
        self._hosts: list[Constraint] = []
        # hostname!=x is given many times at once, a name each: looked up together.
        self._forbidden = HostNames()
        self._forbidding: dict[str, Constraint] = {}
        groups: dict[str, list[Constraint]] = {}
        for constraint in constraints:
            if constraint.name in _HOST_NAMES and constraint.sign == "!=":
                self._forbidden.add(constraint.operand)
                self._forbidding[constraint.operand] = constraint
            elif constraint.name in _HOST_NAMES:
                self._hosts.append(constraint)
            else:
                groups.setdefault(constraint.name, []).append(constraint)
        self._groups = list(groups.items())
        self._verdicts: list[dict[tuple[AttributeValue, ...], Constraint | None]] = [{} for _ in self._groups]

    def first_unmet(self, hostname: str, attributes: Attributes) -> Constraint | None:
        """Return a constraint that this agent does not satisfy, or None where it satisfies them all."""
        for (name, constraints), verdicts in zip(self._groups, self._verdicts, strict=True):
            values = attributes.get(name, ())
            try:
                unmet = verdicts[values]
            except KeyError:
                if len(verdicts) >= _MAX_REMEMBERED:
                    verdicts.clear()
                unmet = next((each for each in constraints if not each.is_met_by_values(values)), None)
                verdicts[values] = unmet
            if unmet is not None:
                return unmet
        forbidden = self._forbidden.find(hostname)
        if forbidden is not None:
            return self._forbidding[forbidden]
        return next((each for each in self._hosts if not each.is_met_by(hostname, attributes)), None)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _text(value: AttributeValue) -> str:
    """The value as Mesos writes it in its /slaves: 4, 2.5, [1-3, 8-8]."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return "[" + ", ".join(f"{low:g}-{high:g}" for low, high in value) + "]"


def _equality(operand: str) -> Callable[[AttributeValue], bool]:
    number = _number(operand)

    def test(value: AttributeValue) -> bool:
        if isinstance(value, tuple) and number is not None:
            return any(low <= number <= high for low, high in value)
        if isinstance(value, float):
            return value == number
        return _text(value) == operand

    return test


def _comparison(compare: Callable[[float, float], bool], number: float) -> Callable[[AttributeValue], bool]:
    def test(value: AttributeValue) -> bool:
        if isinstance(value, tuple):
            return any(compare(low, number) or compare(high, number) for low, high in value)
        mine = value if isinstance(value, float) else _number(value)
        return mine is not None and compare(mine, number)

    return test


def _pattern_test(pattern: re.Pattern[str]) -> Callable[[AttributeValue], bool]:
    return lambda value: pattern.fullmatch(_text(value)) is not None


def _name_test(name: str) -> Callable[[AttributeValue], bool]:
    return lambda hostname: isinstance(hostname, str) and is_named(hostname, name)
