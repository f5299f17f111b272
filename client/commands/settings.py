"""`s2s settings`: every setting, its value and where that comes from."""

import ast
import inspect
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

from dotenv import dotenv_values
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.display.terminal import plain_table, print_json
from shared.errors import Misconfigured
from shared.gateway_settings import GatewaySettings
from shared.service_settings import ServiceSettings
from shared.settings import Settings, by_variable, settings

DEFAULT = "default"


@dataclass(frozen=True)
class Row:
    """One setting."""

    variable: str
    value: object
    default: object
    source: str
    """Where the value comes from: the environment, the file .env, or the default."""
    description: str


def settings_command(text: str, *, as_json: bool) -> None:
    """Run the command; see `s2s settings --help`."""
    rows = [row for row in _rows(settings()) if text.upper() in row.variable]
    if not rows:
        raise Misconfigured(f"No setting has {text!r} in its name.")
    if as_json:
        print_json(rows)
    else:
        Console().print(_table(rows, described=bool(text)))


def _rows(current: Settings) -> Iterator[Row]:
    env_file = Settings.model_config["env_file"]
    in_file = (
        {name.upper(): value for name, value in dotenv_values(str(env_file)).items()} if env_file else {}
    )
    environ = {name.upper(): value for name, value in os.environ.items()}
    defaults = dict(by_variable(Settings.model_construct().model_dump(mode="json")))
    descriptions = dict(_descriptions())
    for variable, value in by_variable(current.model_dump(mode="json")):
        source = "environment" if variable in environ else DEFAULT
        if variable in in_file and in_file[variable] == environ.get(variable):  # `settings` has read the file
            source = str(env_file)
        yield Row(variable, value, defaults[variable], source, " ".join(str(descriptions[variable]).split()))


def _descriptions() -> Iterator[tuple[str, object]]:
    services = dict(_docstrings(ServiceSettings))
    texts = dict(chain(_docstrings(GatewaySettings), _docstrings(Settings)))
    for name, field in Settings.model_fields.items():
        yield from by_variable({name: services if field.annotation is ServiceSettings else texts[name]})


def _docstrings(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """The text below each of a class's own fields. Pydantic's `use_attribute_docstrings` would read them in
    every process that imports the settings: 27 ms of CPU."""
    (definition,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(definition, ast.ClassDef)
    for one, following in pairwise(definition.body):
        match one, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, text


def _table(rows: list[Row], *, described: bool) -> Table:
    table = plain_table(folded=("setting", "value", "from"), between_rows=int(described))
    for row in rows:
        style = "" if row.source == DEFAULT else "bold"
        name = Text(row.variable, style)
        if described:
            name.append(f"\n{row.description}", "dim")
        table.add_row(name, Text("-" if row.value is None else str(row.value), style), row.source)
    return table
