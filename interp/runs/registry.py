"""Names of task and model classes in recipes and on the command line, and what they stand for."""

import dataclasses
import importlib
import inspect
import os
import sys
from typing import Any, TypeVar

from interp.arguments import nearest
from interp.models.config import PRESETS, ModelConfig, TransformerConfig
from tasks.composition import GroupComposition
from tasks.groups import UnknownGroupError
from tasks.task import Task

TASKS = {
    "group_composition": "tasks.composition:GroupComposition",
    "peak": "tasks.sequences.peaks:Peak",
    "dominant_peak": "tasks.sequences.peaks:DominantPeak",
    "palindrome": "tasks.sequences.mirror:Palindrome",
    "reverse": "tasks.sequences.mirror:Reverse",
    "fraction": "tasks.sequences.counting:Fraction",
    "fraction_classes": "tasks.sequences.counting:FractionClasses",
    "histogram": "tasks.sequences.counting:Histogram",
    "sort": "tasks.sequences.ordering:Sort",
    "triplets": "tasks.sequences.ordering:Triplets",
    "program": "interp.rasp.tasks:ProgramTask",
    "copy": "tasks.iteration.kinds:Copy",
    "parity": "tasks.iteration.kinds:Parity",
    "polynomial": "tasks.iteration.kinds:Polynomial",
    "group_product": "tasks.iteration.kinds:GroupProduct",
    "mixed": "tasks.iteration.kinds:Mixed",
}
MODULAR_ADDITION = "modular_addition"
MODELS = {
    "transformer": "interp.models.config:TransformerConfig",
    "decoder": "interp.models.config:DecoderConfig",
    "iteration_head": "interp.models.config:IterationHeadConfig",
    "compiled": "interp.models.config:CompiledConfig",
    "mlp": "interp.models.config:MLPConfig",
    "bilinear": "interp.models.config:BilinearConfig",
}
COMPILED_SHAPE = "compiled_shape"

user_modules: set[str] = set()
"""The modules that the user named in this process: what they hold may be called."""


class UnknownKindError(ValueError):
    """A task or model that is neither built in nor a user's module that was allowed."""


def kind_of(value: object, builtin: dict[str, str]) -> str:
    """The name under which the class of `value` is stored in a recipe."""
    reference = f"{type(value).__module__}:{type(value).__qualname__}"
    return next((kind for kind, place in builtin.items() if place == reference), reference)


def about(kind: type) -> str:
    """The first sentence of a class's docstring; nothing for a dataclass that was given none."""
    sentence = " ".join((inspect.getdoc(kind) or "").split()).partition(". ")[0].rstrip(".")
    return "" if sentence.startswith(f"{kind.__name__}(") else sentence


def class_of(kind: str, builtin: dict[str, str]) -> type:
    """The frozen dataclass that `kind` names: built in, or `module:Name` of an imported module.

    Raises `UnknownKindError` for anything else. A module that is not imported yet is never
    imported here, since a recipe may come from anywhere.
    """
    if ":" not in kind and kind not in builtin:
        raise UnknownKindError(
            f"unknown kind {kind!r}: allowed are {', '.join(builtin)} and a class of your own as "
            f"'module:Name'{nearest(kind, builtin)}"
        )
    module, _, name = builtin.get(kind, kind).partition(":")
    if kind in builtin:
        importlib.import_module(module)
    if module not in sys.modules:
        raise UnknownKindError(
            f"{kind!r} is in a module of its own, which is not imported unasked: if you trust it, "
            f"add `--allow-module {module}`"
        )
    found = getattr(sys.modules[module], name, None)
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        raise UnknownKindError(f"{kind!r} names no dataclass: {module} has no such class")
    return found


def import_user_module(module: str) -> Any:
    """Import a module that the user named, looking in the current folder too."""
    if not all(part.isidentifier() for part in module.split(".")):
        raise UnknownKindError(f"{module!r} is no name of a module")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        imported = importlib.import_module(module)
        user_modules.add(module)
        return imported
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise UnknownKindError(
            f"there is no module {module!r}: it must be importable from the current folder or "
            "installed"
        ) from error


def task_class(kind: str) -> type[Task]:
    """The task class of a name in a recipe. Raises `UnknownKindError` as `class_of` does."""
    found = class_of(kind, TASKS)
    if not issubclass(found, Task):
        raise UnknownKindError(f"{kind} is no Task")
    return found


def model_class(kind: str) -> type:
    """The configuration class of a name in a recipe. Raises as `class_of` does."""
    found = class_of(kind, MODELS)
    if not hasattr(found, "build"):
        raise UnknownKindError(f"{kind} has no `build` and so is no model")
    return found


def named_task(name: str) -> Task:
    """The task, with default settings, that a short name or `module:Name` stands for.

    A group's name, or its definition by generators, means composition in that group; a RASP
    program in a module of the user's means to say what it says. Raises `UnknownKindError` when
    the name stands for nothing.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        found = getattr(import_user_module(module), attribute, None)
        if found is not None and not isinstance(found, type):
            from interp.rasp import ProgramTask  # the compiler takes a second to import

            return ProgramTask(program=name)
    if ":" in name or name in TASKS:
        return _with_defaults(task_class(name))
    if name == MODULAR_ADDITION:
        return GroupComposition(group="C53", train_fraction=0.4)
    try:
        return GroupComposition(group=name)
    except UnknownGroupError as error:
        hint = nearest(name, [*TASKS, MODULAR_ADDITION])
        raise UnknownKindError(f"there is no task {name!r}{hint}: {error}") from error


def named_model(name: str, task: Task) -> ModelConfig:
    """The model configuration, with default settings, that a name or `module:Name` stands for.

    A transformer attends in the direction that `task` needs. "compiled_shape" has the sizes of
    the transformer that is compiled for `task`. Raises `UnknownKindError` when the name stands
    for nothing.
    """
    if ":" in name:
        import_user_module(name.partition(":")[0])
        return _with_defaults(model_class(name))
    if name == COMPILED_SHAPE:
        from interp.rasp import compiled_shape  # the compiler is needed for nothing else here

        return compiled_shape(task)
    names = [*MODELS, *PRESETS, COMPILED_SHAPE]
    if name not in names:
        raise UnknownKindError(
            f"there is no model {name!r}: allowed are {', '.join(names)} and a class of your own "
            f"as 'module:Name'{nearest(name, names)}"
        )
    model = PRESETS.get(name) or _with_defaults(model_class(name))
    if isinstance(model, TransformerConfig):
        return dataclasses.replace(model, attention_dir=task.attention)
    return model


Kind = TypeVar("Kind")


def _with_defaults(found: type[Kind]) -> Kind:
    try:
        return found()
    except TypeError as error:
        raise UnknownKindError(f"every field needs a default: {error}") from error
