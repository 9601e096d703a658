"""Architectures by their published numbers: parameters, layers, and configurations of Hugging Face as tables."""

from __future__ import annotations

import json

import pytest

from kernels.models.architecture import Architecture, plain_gpt
from kernels.models.architecture_yaml import FIELDS, read_architecture
from kernels.models.hugging_face import MODEL_TYPES, read_config
from kernels.strict_yaml.nodes import read_yaml
from kernels.strict_yaml.problems import Problems, SweepError

LLAMA = {
    **{"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8},
    **{"intermediate_size": 14336, "vocab_size": 128256, "hidden_act": "silu", "tie_word_embeddings": False, "rope_theta": 5e5},
}
QWEN = {**LLAMA, "model_type": "qwen3", "hidden_size": 5120, "num_hidden_layers": 64, "num_attention_heads": 64, "head_dim": 128}
QWEN |= {"intermediate_size": 25600, "vocab_size": 151936, "use_sliding_window": False, "sliding_window": None, "max_window_layers": 64}
DEEPSEEK = {
    **{"model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128},
    **{"intermediate_size": 18432, "vocab_size": 129280, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128},
    **{"qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8},
    **{"moe_intermediate_size": 2048, "first_k_dense_replace": 3, "moe_layer_freq": 1, "n_group": 8, "num_nextn_predict_layers": 1},
}
MIXTRAL = {**LLAMA, "model_type": "mixtral", "vocab_size": 32000, "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": None}
QWEN_MOE = {
    **{"model_type": "qwen3_moe", "hidden_size": 4096, "num_hidden_layers": 94, "num_attention_heads": 64, "num_key_value_heads": 4},
    **{"head_dim": 128, "intermediate_size": 12288, "vocab_size": 151936, "num_experts": 128, "num_experts_per_tok": 8},
    **{"moe_intermediate_size": 1536, "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": True},
}
GPT_OSS = {
    **{"model_type": "gpt_oss", "hidden_size": 2880, "num_hidden_layers": 36, "num_attention_heads": 64, "num_key_value_heads": 8},
    **{"head_dim": 64, "intermediate_size": 2880, "vocab_size": 201088, "num_local_experts": 128, "num_experts_per_tok": 4},
    **{"sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"] * 18, "attention_bias": True, "swiglu_limit": 7.0},
}
GPT2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257, "n_positions": 1024, "n_ctx": 1024}


def read(config: dict[str, object]) -> tuple[Architecture | None, list[str]]:
    """The architecture of a configuration, or its mistakes."""
    problems = Problems()
    try:
        found = read_config(read_yaml(json.dumps(config, indent=2), "config.json", problems, "model"), problems)
        problems.check()
    except SweepError as error:
        return None, error.problems
    return found, []


# Parameters as the released weights have them, by torch's count or the model card.
@pytest.mark.parametrize(
    ("config", "total", "active"),
    [
        (LLAMA, 8_030_261_248, 8_030_261_248),
        ({**LLAMA, "model_type": "mistral", "vocab_size": 32000, "sliding_window": 4096}, 7_241_732_096, 7_241_732_096),  # Mistral 7B v0.1
        (QWEN, 32_762_123_264, 32_762_123_264),
        (MIXTRAL, 46_702_792_704, 12_879_925_248),
        (QWEN_MOE, 235_093_634_560, 22_190_763_520),
        (GPT2, 124_439_808, 124_439_808),
        (DEEPSEEK, 671_026_404_352, 37_552_282_624),  # the model card: 671B, of which 37B active
        (GPT_OSS, 116_829_154_368, 5_750_549_568),  # the model card: 116.83B, without sinks, whose 5.13B leave out the embedding
        (  # Qwen2 7B: biases of q, k and v
            {**LLAMA, "model_type": "qwen2", "hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28}
            | {"num_key_value_heads": 4, "intermediate_size": 18944, "vocab_size": 152064, "use_sliding_window": False},
            7_615_616_512,
            7_615_616_512,
        ),
        (  # Gemma 2 9B: four norms in a layer, a tied head, every other layer with a window
            {**LLAMA, "model_type": "gemma2", "hidden_size": 3584, "num_hidden_layers": 42, "num_attention_heads": 16}
            | {"head_dim": 256, "intermediate_size": 14336, "vocab_size": 256000, "sliding_window": 4096, "tie_word_embeddings": True}
            | {"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh"},
            9_241_705_984,
            9_241_705_984,
        ),
        (  # Gemma 7B
            {"model_type": "gemma", "hidden_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 16}
            | {"head_dim": 256, "intermediate_size": 24576, "vocab_size": 256000, "hidden_act": "gelu"},
            8_537_680_896,
            8_537_680_896,
        ),
    ],
)
def test_configurations_have_their_published_parameters(config: dict[str, object], total: int, active: int) -> None:
    found, mistakes = read(config)
    assert mistakes == []
    assert found is not None
    assert (found.parameters, found.active_parameters) == (total, active)
    assert sum(one.count * one.parameters for one in found.linears()) - found.vocab * found.d_model == found.block_matrix_parameters


def test_windows_are_read() -> None:
    counts = {}
    gemma3 = {**LLAMA, "model_type": "gemma3_text", "num_hidden_layers": 34, "sliding_window": 1024}
    gemma3["hidden_activation"] = "gelu_pytorch_tanh"
    for name, config in (("mistral", {**LLAMA, "model_type": "mistral", "sliding_window": 9}), ("gpt_oss", GPT_OSS), ("gemma3", gemma3)):
        found, mistakes = read(config)
        assert mistakes == []
        assert found is not None
        counts[name] = (found.window, found.windowed_layers)
    assert counts == {"mistral": (9, 32), "gpt_oss": (128, 18), "gemma3": (1024, 29)}


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"model_type": "lama"}, "1: model_type: 'lama' cannot be read (did you mean llama?)"),
        ({}, f"1: model_type: '' cannot be read; valid: {', '.join(MODEL_TYPES)}"),
        ({**LLAMA, "hidden_size": "4096"}, "hidden_size: '4096' is text: write the integer without quotes"),
        ({**LLAMA, "hidden_size": 4096.5}, "hidden_size: '4096.5' is not an integer"),
        ({**LLAMA, "num_attention_heads": 31}, "num_attention_heads: 31 heads do not divide 4096"),
        ({**LLAMA, "num_key_value_heads": 7}, "kv_heads: 7 key and value heads do not divide 32 heads"),
        ({**LLAMA, "hidden_act": "relu"}, "hidden_act: 'relu' cannot be read"),
        ({**LLAMA, "num_memory_heads": 4}, "num_memory_heads: is not known, and could be a size"),
        ({**LLAMA, "mlp_bias": True}, "mlp_bias: true can be read only with attention_bias: true"),
        ({key: value for key, value in LLAMA.items() if key != "vocab_size"}, "vocab_size: missing: this model cannot be read without it"),
        ({**QWEN, "use_sliding_window": True}, "use_sliding_window: only false can be read"),
        ({**QWEN_MOE, "decoder_sparse_step": 2}, "decoder_sparse_step: only 1 can be read"),
        ({**QWEN_MOE, "mlp_only_layers": [0]}, "mlp_only_layers: only [] can be read"),
        ({**GPT_OSS, "layer_types": ["linear_attention"] * 36}, "layer_types: 'linear_attention' cannot be read"),
        ({**MIXTRAL, "num_experts_per_tok": 9}, "active_experts: 9 of 8 experts: give 1 to 8"),
        ({**GPT2, "n_head": 7}, "n_head: 7 heads do not divide 768"),
    ],
)
def test_what_cannot_be_read_is_named(config: dict[str, object], problem: str) -> None:
    found, mistakes = read(config)
    assert found is None
    assert len(mistakes) == 1
    assert problem in mistakes[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("layers: 2\nheads: 2", "architecture.d_model: missing: hidden size"),
        ("layers: 2\nd_model: 8\nheads: 3", "architecture.heads: 3 heads do not divide d_model 8: give head_dim"),
        ("layers: 2\nd_model: 8\nheads: 2\nkv_head: 1", "kv_head: unknown key in an architecture (did you mean kv_heads?)"),
        ("layers: 2\nd_model: 8\nheads: 2\nactivation: relu", "architecture.activation: unknown architecture.activation 'relu'"),
        ("layers: 2\nd_model: 8\nheads: 2\ntied: maybe", "architecture.tied: unknown architecture.tied 'maybe'"),
        ("layers: 2\nd_model: 8\nheads: 2\nactive_experts: 1", "architecture.active_experts: needs `experts`"),
        ("layers: 2\nd_model: 8\nheads: 2\nexperts: 4\nactive_experts: 1", "architecture.d_expert: missing: experts have an inner size"),
        ("layers: 2\nd_model: 8\nheads: 2\nwindow: 4", "architecture.windowed_layers: missing: a window needs both"),
        ("layers: 2\nd_model: 8\nheads: 2\nrope_dim: 4", "architecture.rope_dim: needs `kv_rank`"),
        ("layers: 2\nd_model: 8\nheads: 2\npositions: learned", "architecture.context: goes with `positions: learned`"),
        ("layers: 99999999\nd_model: 8\nheads: 2", "architecture.layers: '99999999' is too large: at most 16777216"),
    ],
)
def test_mistakes_of_an_architecture(text: str, problem: str) -> None:
    problems = Problems()
    assert read_architecture(read_yaml(text, "m.yaml", problems), "architecture.", problems) is None
    with pytest.raises(SweepError) as error:
        problems.check()
    assert len(error.value.problems) == 1
    assert problem in error.value.problems[0]


def test_every_number_of_an_architecture_is_a_key() -> None:
    assert set(FIELDS) == set(Architecture.__dataclass_fields__)


@pytest.mark.parametrize(("layers", "width", "heads"), [(1, 127, 1), (3, 129, 3), (2, 2 * 31, 2)])
def test_a_gpt_block_has_twelve_times_its_width_squared(layers: int, width: int, heads: int) -> None:
    assert plain_gpt(layers, width, heads).block_matrix_parameters == 12 * layers * width**2
