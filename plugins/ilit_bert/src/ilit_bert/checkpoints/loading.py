"""Load models: a float checkpoint from a folder or the hub, or a folder that ``ilit bert tune`` wrote."""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from ilit.artefact import load
from ilit.errors import ModelError
from ilit_bert.checkpoints.folder import is_tuned
from ilit_bert.checkpoints.heads import AUTO_CLASSES, CLASSIFICATION, QUESTION_ANSWERING, Kind, head_for
from ilit_bert.checkpoints.modeling import prepare
from ilit_bert.checkpoints.tokenizer import load_tokenizer

try:
    from transformers.initialization import no_init_weights as _no_init_weights
except ImportError:  # the first releases of transformers 5 have it elsewhere; then weights are drawn for nothing
    _no_init_weights = contextlib.nullcontext  # type: ignore[assignment, unused-ignore] # used alike

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "tf_model.h5", "flax_model.msgpack")


def load_model(source: str | Path, kind: Kind) -> tuple[torch.nn.Module, Any]:
    """Load the model of ``source``, float checkpoint or tuned folder alike, in eval mode, and its tokenizer.

    Raises:
        ModelError: as ``load_float`` raises it, or the tuned model has another head than ``kind`` asks for.
        ilit.errors.ArtefactError: the tuned folder is damaged or of a version this ilit cannot read.
    """
    return load_tuned(source, kind) if is_tuned(source) else load_float(source, kind)


def load_float(source: str | Path, kind: Kind) -> tuple[torch.nn.Module, Any]:
    """Load a fine-tuned checkpoint of any architecture transformers has for the task's kind.

    BERT comes back with stubs (``ilit_bert.checkpoints.modeling.prepare``). Weights stored in half precision become
    float32.

    Args:
        source: a folder as ``save_pretrained`` writes it, or an id on the Hugging Face hub.
        kind: the head that is needed.

    Returns:
        The model, float32 and in eval mode, and its tokenizer.

    Raises:
        ModelError: there is no such folder or hub id; it is no checkpoint; its weights are missing or pickled; it has
            no tokenizer; or it lacks weights of the head, which would then be random.
    """
    name = str(source)
    _check_source(name)
    auto = getattr(transformers, AUTO_CLASSES[kind])
    with quiet():
        with _translated(name):
            model, report = auto.from_pretrained(
                name, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
        tokenizer = load_tokenizer(name)
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"{name}: the checkpoint has no weights for {_few(missing)}, so {type(model).__name__} would start with "
            "random ones; use a checkpoint that was fine-tuned for this task"
        )
    model.config.architectures = [type(model).__name__]
    return prepare(model).eval(), tokenizer


def load_plain(source: str | Path) -> torch.nn.Module:
    """Load a float checkpoint as transformers alone has it, in eval mode: no stubs, no tokenizer.

    Weights stored in half precision become float32. A head without weights is random: enough to time the model.

    Raises:
        ModelError: as ``load_float``, but for head and tokenizer.
    """
    model_class = class_of(source)
    with quiet(), _translated(str(source)):
        model: torch.nn.Module = model_class.from_pretrained(str(source), use_safetensors=True, dtype=torch.float32)
    return model.eval()


def class_of(source: str | Path) -> Any:
    """Return the class of transformers that the checkpoint's config names, ``AutoModel`` where it names none.

    Raises:
        ModelError: there is no readable checkpoint.
    """
    _check_source(str(source))
    with _translated(str(source)), quiet():
        names = transformers.AutoConfig.from_pretrained(str(source)).architectures or []
    return getattr(transformers, next(iter(names), "AutoModel"), transformers.AutoModel)


def load_tuned(folder: str | Path, kind: Kind | None = None) -> tuple[torch.nn.Module, Any]:
    """Load the INT8 model saved in ``folder`` and its tokenizer; neither float weights nor data are needed.

    Raises:
        ModelError: the saved model has another head than ``kind`` asks for.
        ilit.errors.ArtefactError: the folder is damaged or of a version this ilit cannot read.
    """
    if kind is not None and (head := head_of(folder)) != head_for(kind):
        raise ModelError(f"{folder}: the model was tuned for {head}; name a task of that kind, or another model")
    with quiet():
        return load(folder), load_tokenizer(folder)


def head_of(source: str | Path) -> str:
    """Return ``QUESTION_ANSWERING`` or ``CLASSIFICATION``, by the class that the checkpoint's config names.

    Raises:
        ModelError: there is no readable config, or the class it names is neither.
    """
    _check_source(str(source))
    with _translated(str(source)), quiet():
        names = transformers.AutoConfig.from_pretrained(str(source)).architectures or []
    for ending, head in (("ForQuestionAnswering", QUESTION_ANSWERING), ("ForSequenceClassification", CLASSIFICATION)):
        if any(name.endswith(ending) for name in names):
            return head
    raise ModelError(
        f"{source}: config.json names {_few(names) or 'no class'} in 'architectures', which is neither sequence "
        "classification nor question answering; use a checkpoint that was fine-tuned for such a task"
    )


def build(config: Mapping[str, Any]) -> torch.nn.Module | None:
    """Return the architecture a tuned folder's ``config.json`` names, with stubs and in eval mode.

    No weight is drawn for it, which would take most of the time of loading: parameters hold what was in memory, until
    the artefact's reader has put every one of them there.

    Args:
        config: the content of ``config.json``: transformers' own keys, ``model_type`` and ``architectures`` among them.

    Returns:
        The model, or None where the config is not of transformers.
    """
    model_type, names = str(config.get("model_type")), config.get("architectures") or [""]
    if model_type not in transformers.CONFIG_MAPPING:
        return None
    architecture = getattr(transformers, names[0], None)
    if not isinstance(architecture, type) or not issubclass(architecture, transformers.PreTrainedModel):
        return None
    with torch.random.fork_rng(devices=[]), quiet(), _no_init_weights():  # some draw all the same
        model = architecture(transformers.CONFIG_MAPPING[model_type].from_dict(dict(config)))
    return prepare(model).eval()


def _check_source(name: str) -> None:
    """Check that ``name`` is a folder with a checkpoint that can be read, or spelt like an id on the hub."""
    folder = Path(name)
    if not folder.exists():
        if _HUB_ID.fullmatch(name) is None:
            raise ModelError(f"{name}: no such folder; name a folder that save_pretrained wrote, or an id on the hub")
        return
    if not folder.is_dir():
        raise ModelError(f"{name}: is a file; name the folder it lies in")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{name}: no checkpoint, config.json is missing; name a folder that save_pretrained wrote")
    if any(any(folder.glob(pattern)) for pattern in _WEIGHTS):
        return
    if any(any(folder.glob(pattern)) for pattern in _PICKLES):
        raise ModelError(
            f"{name}: the weights are pickled, and reading a pickle runs whatever is in it; where you trust them, "
            "load them with transformers and save_pretrained() them, which writes model.safetensors"
        )
    raise ModelError(f"{name}: model.safetensors is missing; name a folder that save_pretrained wrote")


@contextlib.contextmanager
def _translated(source: str) -> Iterator[None]:
    """Turn transformers' errors about a checkpoint into a ``ModelError`` of one line."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, json.JSONDecodeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        cure = "" if Path(source).exists() else "; name a folder, or check the hub id and the network"
        raise ModelError(f"{source}: cannot be loaded: {lines[0].rstrip('.')}{cure}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' reports and progress bars; what matters in them is raised as an error."""
    transformers_logging: Any = transformers.utils.logging
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    hub = logging.getLogger("huggingface_hub")
    hub_level = hub.level
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        hub.setLevel(hub_level)
        if bars:
            transformers_logging.enable_progress_bar()


def _few(names: list[str]) -> str:
    """Return up to four names and the number of those left out."""
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more
