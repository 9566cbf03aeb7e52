"""What the documents say of the code, held against the code."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.urls import Resolver404, resolve

from apps.trading.risk import LIMITS
from apps.trading.transitions import NEXT
from apps.webhooks import answers
from apps.webhooks.formats import EXPLANATIONS, parse
from pinelab.processes import PROCESSES
from pinelab.urls import api

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SECURITY = (DOCS / "security.md").read_text()
USER_GUIDE = (DOCS / "user-guide.md").read_text()
OPERATOR_GUIDE = (DOCS / "operator-guide.md").read_text()
API = (DOCS / "api.md").read_text()
ARCHITECTURE = (DOCS / "architecture.md").read_text()

# Never seen by a user: every order has at least one size limit.
UNSEEN = {"no_limit"}
VARIABLE = re.compile(
    r"""\b(?:env|flag|environ\.get|environment\.get)\(\s*["']([A-Z_]+)["']"""
    r"""|\benviron(?:ment)?\[["']([A-Z_]+)["']\]"""
)


def nodes(*folders: str) -> Iterator[tuple[str, ast.AST]]:
    """Every node of the sources in these folders, with the path of its file."""
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                yield str(file.relative_to(ROOT)), node


def called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def text_of(node: ast.expr | None) -> str:
    """A string constant's text; empty for anything else."""
    match node:
        case ast.Constant(value=str(text)):
            return text
    return ""


def missing(names: Iterable[str], page: str) -> set[str]:
    return {name for name in names if f"`{name}`" not in page}


class TestSecurity:
    def test_every_place_that_acts_across_tenants_is_listed_with_its_reason(self) -> None:
        listed = set(re.findall(r"^\| `(apps/[^`]+)` \| `([^`]+)` \|", SECURITY, re.MULTILINE))

        assert listed == set(places_across_tenants())


def places_across_tenants() -> Iterator[tuple[str, str]]:
    for path, node in nodes("apps"):
        if isinstance(node, ast.Call) and called(node) == "acting_across":
            reason = text_of(node.args[0])
            assert reason, f"{path} makes up its reason: a plain text can be listed"
            yield path, reason


class TestUserGuide:
    @pytest.mark.parametrize("code", EXPLANATIONS)
    def test_a_message_code_stands_there_with_its_explanation(self, code: Any) -> None:
        wrong, hint = EXPLANATIONS[code]

        assert f"| `{code.value}` | {wrong} | {hint} |" in USER_GUIDE

    def test_every_code_of_a_decision_or_an_order_is_explained(self) -> None:
        assert missing(set(decided()) - UNSEEN, USER_GUIDE) == set()

    def test_every_limit_is_explained(self) -> None:
        assert missing([*LIMITS, "allowed_instruments"], USER_GUIDE) == set()

    def test_every_example_of_a_message_is_read_as_it_says(self) -> None:
        table = USER_GUIDE.partition("<!-- formats -->")[2].partition("<!-- end -->")[0]
        rows = re.findall(r"^\| [^|]+ \| `([^|]+)` \| ([^|]+) \|$", table, re.MULTILINE)

        assert len(rows) > 15
        for example, said in rows:
            reading = parse(example.encode())
            assert f" {reading.ticker}" in f" {said}", example
            assert (reading.action or "no action") in said, example
            assert (reading.error is None) == (reading.action is not None), example


def decided() -> Iterator[str]:
    """Codes that decisions and orders are given in the pipeline, at the desk and its venue."""
    for _path, node in nodes("apps/signals", "apps/trading"):
        match node:
            case ast.Call():
                yield coded(node)
            case ast.Return(value=ast.Tuple(elts=[code, ast.Constant() | ast.JoinedStr()])):
                yield text_of(code)
            case ast.Assign(targets=[target], value=value):
                yield from assigned(target, value)
            case ast.AnnAssign(target=target, value=ast.Dict() as value):
                yield from assigned(target, value)


def coded(call: ast.Call) -> str:
    place = {"Refusal": 0, "Refused": 0, "Verdict": 1, "cap": 1}.get(called(call))
    if place is None or len(call.args) <= place:
        return "ok"
    return text_of(call.args[place]) or "ok"


def assigned(target: ast.expr, value: ast.expr) -> Iterator[str]:
    match target, value:
        case ast.Tuple(elts=targets), ast.Tuple(elts=values):
            for each, its in zip(targets, values, strict=True):
                yield from assigned(each, its)
        case ast.Attribute(attr="status_code"), ast.Constant(value=str(code)) if code:
            yield code
        case ast.Name(id="CANCELED"), ast.Dict(keys=keys):
            yield from map(text_of, keys)


class TestOperatorGuide:
    def test_every_environment_variable_is_listed(self) -> None:
        sources = [*(ROOT / "pinelab").rglob("*.py"), *(ROOT / "apps").rglob("*.py")]
        found = {
            first or second
            for file in [*sources, ROOT / "manage.py"]
            for first, second in VARIABLE.findall(file.read_text())
        }

        assert "PINELAB_HOOKS_PORT" in found
        assert missing(found, OPERATOR_GUIDE) == set()

    def test_every_process_is_in_the_table_and_in_the_picture(self) -> None:
        for process in PROCESSES:
            name = "intake" if process.name == "hooks" else process.name

            assert f"| {name} |" in OPERATOR_GUIDE
            assert f'{process.name}["{process.name}:' in ARCHITECTURE

    def test_every_command_of_ours_is_named(self) -> None:
        commands = {file.stem for file in ROOT.glob("apps/*/management/commands/[a-z]*.py")}
        shown = {*re.findall(r"manage\.py (\w+)", OPERATOR_GUIDE), "seed_demo"}

        assert commands <= shown


class TestApi:
    def test_every_address_is_shown(self) -> None:
        routes = {re.sub(r"<\w+:\w+>", "{id}", str(pattern.pattern)) for pattern in api()}
        unseen = {
            route
            for route in routes
            if not re.search(rf"(?:\$API/| ){re.escape(route)}(?![\w/{{])", API)
        }

        assert unseen == set()

    def test_every_address_that_is_shown_exists(self) -> None:
        addresses = re.findall(r"\$API/([^\s\"?]+)", API)

        assert len(addresses) > 40
        for address in addresses:
            try:
                resolve("/api/v1/" + address.replace("{id}", str(UUID(int=1))))
            except Resolver404:
                pytest.fail(f"there is no {address}")

    def test_every_code_of_a_refusal_is_listed(self) -> None:
        assert missing(refusal_codes(), API) == set()

    def test_every_answer_of_the_intake_is_listed(self) -> None:
        refusals = [each for each in vars(answers).values() if isinstance(each, answers.Answer)]

        for answer in refusals:
            if answer.status >= 400:
                assert re.search(rf"^\| {answer.status} \| .*`{answer.code}`", API, re.MULTILINE)


def refusal_codes() -> Iterator[str]:
    """The ``code`` of every class that sets one."""
    for _path, node in nodes("apps"):
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                match line:
                    case (
                        ast.Assign(targets=[ast.Name(id="code")], value=value)
                        | ast.AnnAssign(target=ast.Name(id="code"), value=value)
                    ) if code := text_of(value):
                        yield code


class TestArchitecture:
    def test_the_picture_of_an_order_has_exactly_the_transitions_that_there_are(self) -> None:
        picture = ARCHITECTURE.partition("stateDiagram-v2")[2].partition("```")[0]
        drawn = set(re.findall(r"^  (\w+) --> (\w+)", picture, re.MULTILINE))

        assert drawn == {(before, after) for before in NEXT for after in NEXT[before]}

    def test_every_file_it_names_exists(self) -> None:
        named = set(re.findall(r"`((?:apps|ml|pinelab|deploy)/[\w/.]+\.\w+)`", ARCHITECTURE))

        assert len(named) > 15
        assert {path for path in named if not (ROOT / path).exists()} == set()
