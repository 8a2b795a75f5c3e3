"""Writes an adapter of peft as a GGUF file, which the embedded server loads.

Works for models of the Llama architecture, whose tensors the table below names.
"""

import json
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ops.finetune.errors import BadInput

ARCHITECTURE: Final = "llama"

TENSORS: Final = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""The names of a layer's matrices in Hugging Face's format, and in GGUF."""


def write_adapter(peft_folder: Path, file: Path, *, config: Any, name: str, half: bool) -> None:
    """Converts an adapter.

    Args:
        peft_folder: holds adapter_config.json and adapter_model.safetensors.
        file: the GGUF file to write.
        config: the configuration of the base model, of transformers.
        name: of the adapter, for its metadata.
        half: stores 16 bits per number instead of 32, which halves the file.

    Raises:
        BadInput: the base model is not of the Llama architecture, or other matrices than
            those of its layers were trained.
    """
    if config.model_type != ARCHITECTURE:
        raise BadInput(f"the base model is of the architecture {config.model_type}")
    adapter = json.loads((peft_folder / "adapter_config.json").read_text())
    numbers = np.float16 if half else np.float32
    writer = gguf.GGUFWriter(file, ARCHITECTURE)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(adapter["lora_alpha"]))
    writer.add_name(name)
    for key, matrix in load_file(peft_folder / "adapter_model.safetensors").items():
        tensor, part = _tensor_of(key)
        if part == "b" and tensor.endswith("attn_q"):
            matrix = _rows_permuted(matrix, config.num_attention_heads)  # noqa: PLW2901
        if part == "b" and tensor.endswith("attn_k"):
            matrix = _rows_permuted(matrix, config.num_key_value_heads)  # noqa: PLW2901
        writer.add_tensor(
            f"{tensor}.weight.lora_{part}", np.ascontiguousarray(matrix.astype(numbers))
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensor_of(key: str) -> tuple[str, str]:
    """The name of a matrix in GGUF, and which of its two low-rank factors this is: a or b."""
    _, in_layer, rest = key.partition(".layers.")
    layer, _, path = rest.partition(".")
    module, _, factor = path.rpartition(".lora_")
    if not in_layer or module not in TENSORS:
        raise BadInput(f"the adapter changes {key}, which has no place in the file")
    return f"blk.{layer}.{TENSORS[module]}", factor[0].lower()


def _rows_permuted(matrix: NDArray[Any], heads: int) -> NDArray[Any]:
    """Reorders rows per head: transformers rotates halves of a head, llama.cpp neighbours."""
    per_head = matrix.reshape(heads, 2, matrix.shape[0] // heads // 2, *matrix.shape[1:])
    return per_head.swapaxes(1, 2).reshape(matrix.shape)
