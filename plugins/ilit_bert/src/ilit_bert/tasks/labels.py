"""The mapping of a checkpoint's label ids to a task's labels, by the names in its configuration or by the user."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ilit.errors import ConfigError, ModelError
from ilit_bert.tasks.table import Task

_NUMBERED = re.compile(r"(?:label|class)?[\W_]*(\d+)")
_SAME = {
    "contradict": "contradiction",
    "contradicts": "contradiction",
    "entail": "entailment",
    "entails": "entailment",
    "notentails": "notentailment",
    "neg": "negative",
    "pos": "positive",
    "paraphrase": "equivalent",
    "notparaphrase": "notequivalent",
    "inequivalent": "notequivalent",
    "notacceptable": "unacceptable",
    "grammatical": "acceptable",
    "ungrammatical": "unacceptable",
}


def model_label_ids(task: Task, config: Any) -> tuple[int, ...]:
    """Return the model's id of each of the task's labels, in the task's official order.

    A checkpoint may number the labels in its own order and says so by ``id2label`` (or ``label2id``). Names are
    compared by their letters alone, so that ``Contradiction (2)`` is ``contradiction``; common other words for a label
    are known. Names that are numbers (``LABEL_0``, ``0``) are taken as positions in the official order, and where the
    names are words that are none of the task's, so are the ids: see ``assumed_order``.

    Args:
        task: a classification task.
        config: the model's configuration.

    Raises:
        ModelError: the checkpoint names some of the task's labels but not all, so it is another task's.
    """
    names = _names(config)
    by_name = _ids_by_name(names)
    wanted = [_plain(name) for name in task.label_names]
    known = [name for name in wanted if name in by_name]
    if wanted and len(known) == len(wanted):
        return tuple(by_name[name] for name in wanted)
    if known:
        missing = next(name for name in task.label_names if _plain(name) not in by_name)
        raise ModelError(
            f"id2label: the checkpoint's labels are {', '.join(names.values())}, without {task.name}'s '{missing}'; "
            "use a checkpoint that was fine-tuned for this task, or say what its ids stand for by --labels"
        )
    numbers = _numbers(names)
    if set(numbers) == set(range(len(names))) and len(names) >= len(task.labels):
        return tuple(numbers.index(number) for number in range(len(task.labels)))
    return tuple(range(len(task.labels)))


def assumed_order(task: Task, config: Any) -> str:
    """Return a line on the order assumed for the checkpoint's ids; empty where its labels' names give it.

    Args:
        task: any task.
        config: the model's configuration.
    """
    names = _names(config)
    if task.kind != "classification" or len(names) < 2:
        return ""
    if _plain(task.label_names[0]) in _ids_by_name(names):
        return ""
    ids = model_label_ids(task, config)
    order = ", ".join(f"{index} {name}" for index, name in sorted(zip(ids, task.label_names, strict=True)))
    say = "say so by --labels where that is wrong"
    if not has_numbered_labels(config):
        about = f"the checkpoint's labels ({', '.join(names.values())}) are none of {task.name}'s"
        return f"{about}; they are taken in the official order: {order}; {say}"
    about = f"the checkpoint names its labels by numbers ({', '.join(names.values())})"
    return f"{about}, which are taken for {task.name}'s official order: {order}; {say}"


def has_numbered_labels(config: Any) -> bool:
    """Return whether all of the checkpoint's label names are numbers, as transformers' defaults are."""
    return None not in _numbers(_names(config))


def name_labels(config: Any, labels: Sequence[str], task: Task | None = None) -> None:
    """Write names for the checkpoint's ids into its configuration, in place of those it has.

    Args:
        config: the model's configuration; ``id2label`` and ``label2id`` are replaced, and are saved with the model.
        labels: one name for each id, in the order of the ids, as the task's files or ``id2label`` spell them.
        task: whose labels they are; by default any names are taken.

    Raises:
        ConfigError: the task or the model has no labels, the names are not one for each output, one is there twice,
            or one of the task's is missing.
    """
    if task is not None and task.kind != "classification":
        raise ConfigError(f"labels: {task.name} has no labels to put into an order; leave --labels out")
    given = ", ".join(labels)
    outputs = int(config.num_labels)
    if len(labels) != outputs or outputs < 2:
        raise ConfigError(f"labels '{given}': {len(labels)} for a checkpoint of {outputs} outputs; name each id once")
    names = [_official(label, task) for label in labels]
    missing = [name for name in (task.label_names if task else ()) if name not in names]
    if missing or len(set(names)) != outputs:
        of = f"{task.name}'s are {', '.join(task.label_names)}" if task else "each id has a name of its own"
        raise ConfigError(f"labels '{given}': {of}; name each once, in the order of the checkpoint's ids")
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}


def _official(label: str, task: Task | None) -> str:
    """Return the official name of a label as the user spells it, or the label itself where it is none of the task's."""
    if task is None:
        return label
    if label in task.labels:
        return task.label_names[task.labels.index(label)]
    return next((name for name in task.label_names if _plain(name) == _plain(label)), label)


def _names(config: Any) -> dict[int, str]:
    """Return id -> label name as the checkpoint's configuration has it, in the order of the ids."""
    id2label = getattr(config, "id2label", None) or {}
    label2id = getattr(config, "label2id", None) or {}
    pairs = {int(index): str(name) for index, name in id2label.items()}
    pairs = pairs or {int(index): str(name) for name, index in label2id.items()}
    return dict(sorted(pairs.items()))


def _ids_by_name(names: dict[int, str]) -> dict[str, int]:
    """Return plain name -> id, without names that several ids share."""
    plain = {index: _plain(name) for index, name in names.items()}
    shared = list(plain.values())
    return {name: index for index, name in plain.items() if name and shared.count(name) == 1}


def _numbers(names: dict[int, str]) -> list[int | None]:
    """Return the number in each name, None for names that are more than a number."""
    found = [_NUMBERED.fullmatch(name.strip().casefold()) for name in names.values()]
    return [int(match[1]) if match else None for match in found]


def _plain(name: str) -> str:
    """Normalize a label's name: its letters in lower case, synonyms made one."""
    letters = "".join(letter for letter in name.casefold() if letter.isalpha())
    negated = f"not{letters[3:]}" if letters.startswith("non") else letters
    return _SAME.get(negated, negated)
