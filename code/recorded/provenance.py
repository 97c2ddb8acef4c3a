"""What a run depends on: its options, its data, and what its code does.

Code counts by what it does. From the function of a run, every function, class and
constant of its package that it names is followed, and described by its syntax tree
without comments, docstrings, annotations, layout, the texts of errors, and the place
where it stands. So none of these changes a fingerprint, and a changed default, formula
or constant does. What another package defines is described by its whole path, what
``recorded`` defines by its name.

This holds for modules that do nothing but define when they are imported, each name
once; others are refused. Not seen is what has no name in the code: a function found by
``getattr`` or in a registry that decorators fill, a docstring or an annotation that is
read while the program runs. Not followed are ``incidental`` functions, this package, as
what keeps a result has no part in it, and the modules that the run's package names in
its ``KEEPERS``.

A constant whose name ends in ``DIGEST`` or ``DIGESTS`` says which data or weights the
run reads. It counts as data, by its value.

What a script does, as the cells of a chapter are one, is described in the same way
(``effects``).
"""

import ast
import dataclasses
import functools
import hashlib
import importlib.util
import json
import pickle
import re
import symtable
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from recorded.home import home, package_of

_STARTED = time.time()
OURS = __name__.partition(".")[0]  # this package
NOT_IMPORTED = "if __name__ == '__main__':", "if TYPE_CHECKING:"

Function = TypeVar("Function", bound=Callable[..., Any])
Find = Callable[[str], ModuleSpec | None]


class Fingerprint(NamedTuple):
    """What of its package a run depends on.

    Libraries and machine do not count: a record names those that it was made with.
    """

    function: str
    config: dict[str, Any]  # the options, JSON values by name
    data: dict[str, str]  # SHA-256 of each content
    code: dict[str, str]  # SHA-256 of what each definition does

    @property
    def key(self) -> str:
        """The SHA-256 of all of it, in hexadecimal."""
        return digest(self._asdict())


def incidental(function: Function) -> Function:
    """Mark a function on which no result depends, so that it may change freely.

    Such are a progress bar, or a search for files whose content is then verified.
    """
    return function


def fingerprint(
    function: Callable[..., Any],
    config: Any,
    sources: Mapping[str, str] | None = None,
) -> Fingerprint:
    """The fingerprint of ``function(config, ...)``; ``config`` is a dataclass.

    ``sources`` are texts to read in place of those of the modules they are named by,
    to see what an edit would change. Raises ``ValueError`` where the function is not
    at the top of a module, or a module that it reaches can't be followed.
    """
    reader = _read(function, config, sources or {})
    # As JSON has it, so that what was read from a file compares equal.
    options = json.loads(json.dumps(dataclasses.asdict(config)))
    return Fingerprint(function.__qualname__, options, reader.data, reader.code)


def differences(recorded: Fingerprint, now: Fingerprint) -> list[str]:
    """What changed from one fingerprint to another, a short phrase each."""
    found = []
    if recorded.function != now.function:
        found.append(f"function {recorded.function} recorded, {now.function} now")
    for what, old, new in (
        ("option", recorded.config, now.config),
        ("data", recorded.data, now.data),
        ("code", recorded.code, now.code),
    ):
        for name in sorted(old.keys() | new.keys()):
            if name not in new:
                found.append(f"{what} {name} is gone")
            elif name not in old:
                found.append(f"{what} {name} is new")
            elif old[name] != new[name]:
                values = f": {old[name]!r} recorded, {new[name]!r} now"
                found.append(
                    f"{what} {name}{values if what == 'option' else ' changed'}"
                )
    return found


def effects(script: str, find: Find) -> tuple[dict[str, str], dict[str, str]]:
    """What the code does that a script names, and the data of that code.

    Both are SHA-256 by name, as in a ``Fingerprint``. ``find`` says where a package or
    module is, by a name without dots, and None of one that is not to be described. All
    that is reached counts, here, what is incidental to a run as well. Nothing is
    imported. Raises ``ValueError`` where the script gives one name to two things that
    it imports, or a module that is imported with it can't be followed.
    """
    reader = _Reader(functools.cache(find), None, {})
    reader.describe_script(ast.parse(script))
    return reader.code, reader.data


def edited_since_import(function: Callable[..., Any], config: Any) -> list[str]:
    """The modules that the run reaches and whose files are newer than this process."""
    reader = _read(function, config, {})
    files = {name: reader.file(name) for name in reader.modules}
    # A file that was moved here keeps the time of its content, not that of its state.
    times = {n: max(f.stat().st_mtime, f.stat().st_ctime) for n, f in files.items()}
    return sorted(name for name, moment in times.items() if moment > _STARTED)


def _read(
    function: Callable[..., Any], config: Any, sources: Mapping[str, str]
) -> "_Reader":
    package = package_of(function)

    def find(name: str) -> ModuleSpec | None:
        return importlib.util.find_spec(name) if name in (package, OURS) else None

    reader = _Reader(find, home(function).keepers, sources)
    reader.read(package)  # which is imported with its modules
    for item in (function, type(config)):
        if item.__module__ == "__main__" or "." in item.__qualname__:
            raise ValueError(
                f"{item.__qualname__} is defined in {item.__module__}, expected at "
                "the top of a module"
            )
        reader.follow(_Definition(item.__module__, item.__qualname__))
    return reader


class _Definition(NamedTuple):
    """What a module of the package defines at its top."""

    module: str
    name: str


class _Other(NamedTuple):
    """A module, or something of another package, by its dotted name."""

    path: str


_Target = _Definition | _Other | None  # None: a local name, or one of Python's

_INCIDENTAL = _Definition(incidental.__module__, incidental.__qualname__)


class _Module(NamedTuple):
    """The statement that defines each name, and what Python says of the names in it."""

    statements: dict[str, ast.stmt]
    tables: dict[tuple[str, int], symtable.SymbolTable]  # by a definition's name, line


class _Scope(NamedTuple):
    """Where a name stands: what it can mean is in the module, or imported here."""

    module: str
    imports: dict[str, _Other]
    outer: set[str]  # the names that are not local


class _Reader:
    """Describes definitions, and those that they name in turn.

    ``find`` says where the packages are whose definitions are described. Where
    ``keepers`` is None, all of them count.
    """

    def __init__(
        self, find: Find, keepers: Sequence[str] | None, sources: Mapping[str, str]
    ) -> None:
        self.find = find
        self.keepers = keepers
        self.sources = sources
        self.code: dict[str, str] = {}
        self.data: dict[str, str] = {}
        self.modules: dict[str, _Module] = {}
        self.names: dict[_Definition, str] = {}
        self.waiting: list[_Definition] = []

    def follow(self, start: _Definition) -> None:
        """Describe a definition and all that it leads to."""
        self.name_of(start)
        self._describe_waiting()

    def describe_script(self, script: ast.Module) -> None:
        """Describe all that a script leads to."""
        imports = _imports(script)
        for statement in script.body:
            for name, target in _imports(statement).items():
                if imports[name] != target:
                    raise ValueError(
                        f"{name} is both {target.path} and {imports[name].path}"
                    )
        self._read_imported(imports.values())
        self._describe(_Effect().visit(script), _Scope("", imports, set()))
        self._describe_waiting()

    def _read_imported(self, imports: Iterable[_Other]) -> None:
        """Read modules that are imported, and those that they import in turn.

        Reading refuses a module that does something when it is imported, even where
        nothing of it is named.
        """
        for path in {
            target.path for target in imports if self._is_followed(target.path)
        }:
            parts = path.split(".")
            for end in range(1, len(parts) + 1):
                module = ".".join(parts[:end])
                spec = None if module in self.modules else self._spec(module)
                if spec and spec.origin:  # which a folder of modules has not
                    statements = self.read(module).statements.values()
                    inner = [_imports(s).values() for s in dict.fromkeys(statements)]
                    self._read_imported(chain(*inner))

    def _describe_waiting(self) -> None:
        while self.waiting:
            module, name = definition = self.waiting.pop(0)
            statement = self.read(module).statements[name]
            if re.search("DIGESTS?$", name):
                self._add_data(name, statement)
            elif self._counts(module, statement):
                scope = self._scope(module, statement)
                # A copy of it; copy.deepcopy takes several times as long.
                effect = _Effect().visit(pickle.loads(pickle.dumps(statement)))
                what = self._describe(effect, scope)
                self.code[self.names[definition]] = digest(what)

    def name_of(self, definition: _Definition) -> str:
        """The definition's name, without its module's; it will be described, too."""
        if definition not in self.names:
            same = sum(known.name == definition.name for known in self.names)
            self.names[definition] = definition.name + (
                f" ({same + 1})" if same else ""
            )
            self.waiting.append(definition)
        return self.names[definition]

    def read(self, module: str) -> _Module:
        """The module, by its source."""
        if module not in self.modules:
            text = self.sources.get(module) or self._text(module)
            self.modules[module] = _module(module, text)
        return self.modules[module]

    def _scope(self, module: str, statement: ast.stmt) -> _Scope:
        outer: set[str] = set()
        parts: list[ast.AST] = [statement]
        names, tables = self.read(module)
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            outer |= _outer_names(tables[statement.name, statement.lineno])
            parts = [*statement.decorator_list]
            if isinstance(statement, ast.ClassDef):
                parts += [*statement.bases, *statement.keywords]
            else:
                parts.append(statement.args)
        nodes = (node for part in parts for node in ast.walk(part))
        outer |= {node.id for node in nodes if isinstance(node, ast.Name)}
        imports = _imports(statement)
        for name in imports.keys() & outer & names.keys():
            raise ValueError(f"{module} has another {name} than it imports within")
        return _Scope(module, imports, outer)

    def _add_data(self, name: str, statement: ast.stmt) -> None:
        value = ast.literal_eval(getattr(statement, "value", statement))
        items = value.items() if isinstance(value, dict) else [("", value)]
        what = re.sub("_DIGESTS?$", "", name)
        for item, digest in items:
            if self.data.setdefault(f"{what} {item}".strip(), digest) != digest:
                raise ValueError(f"{name} is defined by two modules")

    def _counts(self, module: str, statement: ast.stmt) -> bool:
        """Whether a result can depend on a definition."""
        if self.keepers is None:
            return True
        if module in self.keepers or module.partition(".")[0] == OURS:
            return False
        scope = self._scope(module, statement)
        marks = getattr(statement, "decorator_list", [])
        found = [self._resolve(mark, scope) for mark in marks]
        return not any(target == _INCIDENTAL for target in found)

    # What a name means

    def _resolve(self, node: ast.AST, scope: _Scope) -> _Target:
        """What a name, or a name with a dot, stands for."""
        if isinstance(node, ast.Name):
            if node.id in scope.imports:
                return self._member_if_followed(scope.imports[node.id])
            if node.id in scope.outer:
                return self._member(scope.module, node.id)
        if isinstance(node, ast.Attribute):
            base = self._resolve(node.value, scope)
            if isinstance(base, _Other):
                return self._member_if_followed(_Other(f"{base.path}.{node.attr}"))
        return None

    def _member(self, module: str, name: str) -> _Target:
        """What ``name`` stands for at the top of a module of the package."""
        statement = self.read(module).statements.get(name)
        if isinstance(statement, ast.Import | ast.ImportFrom):
            return self._member_if_followed(_imports(statement)[name])
        return _Definition(module, name) if statement else None

    def _member_if_followed(self, target: _Other) -> _Target:
        """A dotted name of the package, or of this one, as what it defines."""
        if not self._is_followed(target.path) or self._is_module(target.path):
            return target
        module, _, name = target.path.rpartition(".")
        found = self._member(module, name)
        if found is None:
            raise ValueError(f"{module} does not define {name}")
        return found

    def _is_followed(self, path: str) -> bool:
        return self.find(path.partition(".")[0]) is not None

    def _is_module(self, path: str) -> bool:
        return path in self.sources or self._spec(path) is not None

    # Where a module is

    def file(self, module: str) -> Path:
        """Where the source of a module is."""
        spec = self._spec(module)
        if not spec or not spec.origin:
            raise ValueError(f"module {module} has no source")
        return Path(spec.origin)

    def _text(self, module: str) -> str:
        """The source of a module, read as Python reads what it imports."""
        loader = SourceFileLoader(module, str(self.file(module)))
        return str(loader.get_source(module))

    def _spec(self, path: str) -> ModuleSpec | None:
        """Of a module; the packages that it is in are not imported for that."""
        name, *parts = path.split(".")
        spec = self.find(name)
        for part in parts:
            if spec is None or spec.submodule_search_locations is None:
                return None
            name = f"{name}.{part}"
            spec = PathFinder.find_spec(name, spec.submodule_search_locations)
        return spec

    # What a piece of syntax does

    def _describe(self, node: Any, scope: _Scope) -> Any:
        if isinstance(node, list):
            return [self._describe(item, scope) for item in node]
        if not isinstance(node, ast.AST):
            return node
        if isinstance(node, ast.Constant):
            return ["Constant", repr(node.value)]
        target = self._resolve(node, scope)
        if isinstance(target, _Definition):
            return ["Definition", self.name_of(target)]
        if isinstance(target, _Other) and self._is_followed(target.path):
            # A module as a value may be used for anything that it defines.
            names = self.read(target.path).statements
            named = (self._member(target.path, name) for name in names)
            return [self.name_of(item) for item in named if type(item) is _Definition]
        if isinstance(target, _Other):
            return ["Other", target.path]
        return [
            type(node).__name__,
            {
                name: self._describe(value, scope)
                for name, value in ast.iter_fields(node)
                if name not in ("ctx", "type_comment", "type_params")
                and value is not None
                and value != []
            },
        ]


class _Effect(ast.NodeTransformer):
    """Leaves of a definition what has an effect on what it computes."""

    def __init__(self) -> None:
        self.fields: list[ast.AnnAssign] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign):
                # A field, of whatever type, unless it is said to be none.
                names = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
                kept = names & {"ClassVar", "InitVar", "KW_ONLY"}
                statement.annotation = ast.Constant(" ".join(sorted(kept)) or None)
                self.fields.append(statement)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        self.generic_visit(node)
        if node in self.fields:
            return node
        return ast.Assign([node.target], node.value) if node.value else None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        # A docstring, or another constant that stands for itself.
        return (
            None if isinstance(node.value, ast.Constant) else self.generic_visit(node)
        )

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        node.cause = None
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        node.msg = None
        return self.generic_visit(node)

    def _leave_out(self, node: ast.AST) -> None:
        return None

    # What is imported is described where it is named.
    visit_Pass = visit_Import = visit_ImportFrom = _leave_out


@functools.cache
def _module(name: str, text: str) -> _Module:
    """A module, by its source."""
    found: dict[str, ast.stmt] = {}
    for statement in ast.parse(text).body:
        for defined in sorted(_defined(statement, name)):
            if defined in found:
                raise ValueError(f"{name} defines {defined} twice")
            found[defined] = statement
    children = symtable.symtable(text, name, "exec").get_children()
    tables = {(c.get_name(), c.get_lineno()): c for c in children}
    return _Module(found, tables)


def _outer_names(table: symtable.SymbolTable) -> set[str]:
    """The names that a definition, or one within it, takes from the module."""
    # What a class body names before it defines it is the module's.
    body = table.get_type() == "class"
    names = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_global() or (body and symbol.is_referenced())
    }
    return names.union(*(_outer_names(child) for child in table.get_children()))


def _defined(statement: ast.stmt, module: str) -> set[str]:
    """The names that a statement at the top of a module defines."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return set(_imports(statement))
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return set()  # a docstring
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = getattr(statement, "targets", None) or [statement.target]  # type: ignore[union-attr]
        nodes = [node for target in targets for node in ast.walk(target)]
        if not any(isinstance(node, ast.Attribute | ast.Subscript) for node in nodes):
            return {node.id for node in nodes if isinstance(node, ast.Name)}
    if ast.unparse(statement).startswith(NOT_IMPORTED):
        return set()
    raise ValueError(
        f"{module}, line {statement.lineno}, does something when it is imported, "
        "expected definitions, imports and constants"
    )


def _imports(statement: ast.AST) -> dict[str, _Other]:
    """What an import statement, or those within a definition or a script, bind."""
    found = {}
    for node in ast.walk(statement):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                found[alias.asname or first] = _Other(
                    alias.name if alias.asname else first
                )
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name == "*" or node.level:
                    raise ValueError(
                        f"line {node.lineno} imports {'.' * node.level}"
                        f"{node.module or ''}: {alias.name}, expected names by their "
                        "full path"
                    )
                found[alias.asname or alias.name] = _Other(
                    f"{node.module}.{alias.name}"
                )
    return found


def digest(what: Any) -> str:
    """The SHA-256 of a JSON value, in hexadecimal."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
