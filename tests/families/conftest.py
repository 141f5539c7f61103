"""Families of transformers in miniature: one model each with random weights, and inputs for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import transformers

Inputs = dict[str, torch.Tensor]
PAD, EOS, FIRST_WORD, VOCABULARY = 0, 2, 5, 64
LABELS = 3
TOKENS, FRAMES, PIXELS, SAMPLES = 12, 32, 32, 400  # of a row: words, spectrogram frames, image height, audio samples
SHORT = ("t5", "vit")  # what code reads of layers, in text and in images; what plain pytest runs
SPECIAL_TOKENS = {"pad_token_id": PAD, "bos_token_id": 1, "eos_token_id": EOS}
TEXT = {"vocab_size": VOCABULARY, "max_position_embeddings": 32, "num_labels": LABELS, **SPECIAL_TOKENS}
LAYERS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
IMAGE = {"image_size": PIXELS, "patch_size": 8, "num_channels": 3}
SEQ2SEQ = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
SEQ2SEQ |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "decoder_start_token_id": EOS}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 4}
T5 |= {"decoder_start_token_id": PAD}
CLIP_TOWER = {**LAYERS, "num_hidden_layers": 1, "projection_dim": 16}
WHISPER = {**SEQ2SEQ, "num_mel_bins": 8, "max_source_positions": FRAMES // 2, "max_target_positions": TOKENS}
WAV2VEC2 = {"conv_dim": (16, 16), "conv_stride": (5, 4), "conv_kernel": (10, 4), "num_feat_extract_layers": 2}
WAV2VEC2 |= {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4, "classifier_proj_size": 16}


def tokens(rows: int) -> Inputs:
    """Return ``rows`` sentences of different lengths, padded: int64 (rows, TOKENS)."""
    mask = torch.arange(TOKENS) < torch.randint(TOKENS // 2, TOKENS + 1, (rows, 1))
    ids = torch.randint(FIRST_WORD, VOCABULARY, (rows, TOKENS))
    return {"input_ids": ids.masked_fill(~mask, PAD), "attention_mask": mask.long()}


def ended_tokens(rows: int) -> Inputs:
    """Return sentences whose last word is EOS."""
    inputs = tokens(rows)
    inputs["input_ids"][torch.arange(rows), inputs["attention_mask"].sum(1) - 1] = EOS
    return inputs


def tokens_to_answer(rows: int) -> Inputs:
    """Return sentences with the beginning of their answers, which the decoder goes on with."""
    return {**tokens(rows), "decoder_input_ids": torch.randint(FIRST_WORD, VOCABULARY, (rows, TOKENS // 2))}


def images(rows: int) -> Inputs:
    """Return float32 (rows, 3, PIXELS, PIXELS) with structure larger than a pixel."""
    coarse = torch.randn(rows, 3, PIXELS // 4, PIXELS // 4)
    return {"pixel_values": torch.nn.functional.interpolate(coarse, scale_factor=4.0)}


def captioned_images(rows: int) -> Inputs:
    """Return as many sentences as images."""
    return {**ended_tokens(rows), **images(rows)}


def spectrograms(rows: int) -> Inputs:
    """Return float32 (rows, 8 bands, FRAMES)."""
    return {"input_features": torch.randn(rows, 8, FRAMES)}


def spectrograms_to_answer(rows: int) -> Inputs:
    """Return spectrograms with the beginning of their transcripts."""
    return {**spectrograms(rows), "decoder_input_ids": torch.randint(FIRST_WORD, VOCABULARY, (rows, TOKENS // 2))}


def audio(rows: int) -> Inputs:
    """Return float32 (rows, SAMPLES)."""
    return {"input_values": torch.randn(rows, SAMPLES)}


@dataclass(frozen=True)
class Family:
    """A class of transformers with a small config.

    Attributes:
        architecture: the model class's name.
        config: what its config is told.
        inputs: (rows) -> keyword inputs with random content.
        scores: which of the outputs the answers are read from, by argmax over the last axis.
    """

    architecture: str
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: Callable[[int], Inputs] = tokens
    scores: str = "logits"

    def model(self) -> Any:
        """Return the model in eval mode, with weights such that different inputs get different answers."""
        kind = getattr(transformers, self.architecture)
        model = kind(kind.config_class(**self.config)).eval()
        with torch.no_grad():
            for module in model.modules():
                for weight in module.parameters(recurse=False):
                    if weight.ndim > 1:
                        weight.normal_(std=1.0 if isinstance(module, torch.nn.Embedding) else weight[0].numel() ** -0.5)
            _look_at_differences(model, self.inputs(64))
        return model

    def answers(self, model: Any, inputs: Inputs) -> torch.Tensor:
        """Return the model's answers, int64: (rows,) of a classifier, (rows, tokens) of a language model."""
        with torch.no_grad():
            return model(**inputs)[self.scores].argmax(-1)


def _heads(model: Any) -> list[torch.nn.Linear]:
    """Return the Linears that answers are read from: a classifier's, or those of both of CLIP's towers."""
    if isinstance(model, transformers.CLIPModel):
        return [model.visual_projection, model.text_projection]
    linears = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    return [head for head in linears[-1:] if head.out_features == LABELS]


def _look_at_differences(model: Any, inputs: Inputs) -> None:
    """Take what all inputs have in common out of what the heads see, so that no answer is given to all."""
    seen: dict[torch.nn.Module, torch.Tensor] = {}
    watch = [
        head.register_forward_hook(lambda head, args, _: seen.update({head: args[0].flatten(0, -2)}))
        for head in _heads(model)
    ]
    model(**inputs)
    for handle in watch:
        handle.remove()
    for head, hidden in seen.items():
        common = torch.nn.functional.normalize(hidden.mean(0), dim=0)
        head.weight -= torch.outer(head.weight @ common, common)


def text(architecture: str, **config: Any) -> Family:
    """Return an encoder or decoder of sentences."""
    return Family(architecture, {**TEXT, **LAYERS, **config})


def image(architecture: str, **config: Any) -> Family:
    """Return a classifier of images."""
    return Family(architecture, {"num_labels": LABELS, **config}, images)


FAMILIES = {
    "bert": text("BertForSequenceClassification"),
    "roberta": text("RobertaForSequenceClassification", type_vocab_size=1),
    "distilbert": text("DistilBertForSequenceClassification", hidden_dim=64),
    "electra": text("ElectraForSequenceClassification", embedding_size=16),
    "albert": text("AlbertForSequenceClassification", embedding_size=16),
    "mpnet": text("MPNetForSequenceClassification"),
    "deberta": text("DebertaForSequenceClassification", relative_attention=True, pos_att_type=["c2p", "p2c"]),
    "deberta-v2": text(
        "DebertaV2ForSequenceClassification", relative_attention=True, pos_att_type=["c2p", "p2c"], position_buckets=8
    ),
    "modernbert": text("ModernBertForSequenceClassification", local_attention=8, cls_token_id=1, sep_token_id=EOS),
    "mobilebert": text(
        "MobileBertForSequenceClassification", embedding_size=16, intra_bottleneck_size=16, num_feedforward_networks=2
    ),
    "squeezebert": text("SqueezeBertForSequenceClassification", embedding_size=32),
    "convbert": text("ConvBertForSequenceClassification", embedding_size=16, conv_kernel_size=3, num_groups=2),
    "longformer": text("LongformerForSequenceClassification", attention_window=4),
    "bart": Family("BartForSequenceClassification", {**TEXT, **SEQ2SEQ}, ended_tokens),
    "bart-generates": Family("BartForConditionalGeneration", {**TEXT, **SEQ2SEQ}, tokens_to_answer),
    "t5": Family("T5ForSequenceClassification", {**TEXT, **T5}, ended_tokens),
    "t5-generates": Family("T5ForConditionalGeneration", {**TEXT, **T5}, tokens_to_answer),
    "gpt2": text("GPT2ForSequenceClassification"),
    "gpt2-generates": text("GPT2LMHeadModel"),
    "opt": text("OPTForSequenceClassification", ffn_dim=64, word_embed_proj_dim=16),
    "llama": text("LlamaForSequenceClassification", num_key_value_heads=2),
    "qwen2": text("Qwen2ForSequenceClassification", num_key_value_heads=2),
    "vit": image("ViTForImageClassification", **LAYERS, **IMAGE),
    "clip": Family(
        "CLIPModel",
        {
            "text_config": {**TEXT, **CLIP_TOWER},
            "vision_config": {**IMAGE, **CLIP_TOWER},
            "projection_dim": 16,
        },
        captioned_images,
        scores="logits_per_image",
    ),
    "clip-classifies": image("CLIPForImageClassification", vision_config={**IMAGE, **CLIP_TOWER}),
    "swin": image(
        "SwinForImageClassification", image_size=PIXELS, patch_size=4, embed_dim=16, depths=[2, 1], num_heads=[2, 4],
        window_size=4,
    ),
    "resnet": image(
        "ResNetForImageClassification", embedding_size=8, hidden_sizes=[16, 32], depths=[1, 1], layer_type="bottleneck"
    ),
    "mobilenet_v2": image("MobileNetV2ForImageClassification", image_size=PIXELS, depth_multiplier=0.25),
    "convnext": image(
        "ConvNextForImageClassification", image_size=PIXELS, hidden_sizes=[8, 16], depths=[1, 1], num_stages=2,
        layer_scale_init_value=1.0,
    ),
    "whisper": Family("WhisperForAudioClassification", {**TEXT, **WHISPER, "classifier_proj_size": 16}, spectrograms),
    "whisper-generates": Family("WhisperForConditionalGeneration", {**TEXT, **WHISPER}, spectrograms_to_answer),
    "wav2vec2": Family("Wav2Vec2ForSequenceClassification", {**LAYERS, **WAV2VEC2, "num_labels": LABELS}, audio),
}  # fmt: skip


def _param(name: str) -> Any:
    return pytest.param(FAMILIES[name], id=name, marks=() if name in SHORT else pytest.mark.families)


@pytest.fixture(scope="module", params=map(_param, FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    """Return each family in turn."""
    found: Family = request.param
    return found


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Sum in one order here and in other processes, and leave cores to others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
