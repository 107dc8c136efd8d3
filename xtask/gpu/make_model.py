"""Writes a CLIP with random weights in OpenAI's layout: what a tower computes takes as long with any weights.

The image tower is a ViT-B/16 or S/16 for 224 pixels, or a tiny one; the text tower is as small as the format allows, because
training and evaluation with a classifier do not use it. Needs numpy alone: a safetensors file is 8 bytes with the
length of a JSON header, the header, and the tensors' bytes.
"""

import argparse
import json
import os
import struct

import numpy

SIZES = {
    "b16": {"width": 768, "layers": 12, "patch": 16, "resolution": 224, "joint": 512},
    "s16": {"width": 384, "layers": 12, "patch": 16, "resolution": 224, "joint": 512},
    "tiny": {"width": 128, "layers": 2, "patch": 16, "resolution": 64, "joint": 64},
}
TEXT = {"width": 64, "layers": 1, "context": 77, "vocabulary": 512}


def block_shapes(prefix, width):
    """The tensors of a block: attention's projections, the MLP, two LayerNorms."""
    return {
        f"{prefix}.ln_1.weight": (width,),
        f"{prefix}.ln_1.bias": (width,),
        f"{prefix}.attn.in_proj_weight": (3 * width, width),
        f"{prefix}.attn.in_proj_bias": (3 * width,),
        f"{prefix}.attn.out_proj.weight": (width, width),
        f"{prefix}.attn.out_proj.bias": (width,),
        f"{prefix}.ln_2.weight": (width,),
        f"{prefix}.ln_2.bias": (width,),
        f"{prefix}.mlp.c_fc.weight": (4 * width, width),
        f"{prefix}.mlp.c_fc.bias": (4 * width,),
        f"{prefix}.mlp.c_proj.weight": (width, 4 * width),
        f"{prefix}.mlp.c_proj.bias": (width,),
    }


def shapes(size):
    """Every tensor's name and shape."""
    width, patch, joint = size["width"], size["patch"], size["joint"]
    tokens = (size["resolution"] // patch) ** 2 + 1
    all_shapes = {
        "visual.conv1.weight": (width, 3, patch, patch),
        "visual.class_embedding": (width,),
        "visual.positional_embedding": (tokens, width),
        "visual.ln_pre.weight": (width,),
        "visual.ln_pre.bias": (width,),
        "visual.ln_post.weight": (width,),
        "visual.ln_post.bias": (width,),
        "visual.proj": (width, joint),
        "token_embedding.weight": (TEXT["vocabulary"], TEXT["width"]),
        "positional_embedding": (TEXT["context"], TEXT["width"]),
        "ln_final.weight": (TEXT["width"],),
        "ln_final.bias": (TEXT["width"],),
        "text_projection": (TEXT["width"], joint),
        "logit_scale": (),
    }
    for layer in range(size["layers"]):
        all_shapes.update(block_shapes(f"visual.transformer.resblocks.{layer}", width))
    for layer in range(TEXT["layers"]):
        all_shapes.update(block_shapes(f"transformer.resblocks.{layer}", TEXT["width"]))
    return all_shapes


def values(name, shape, random):
    """LayerNorms and biases as they are before training, anything else normal and small."""
    is_norm = ".ln_" in name or name.startswith("ln_")
    if is_norm and name.endswith("weight"):
        return numpy.ones(shape, numpy.float32)
    if name.endswith("bias"):
        return numpy.zeros(shape, numpy.float32)
    return random.standard_normal(shape, numpy.float32) * numpy.float32(0.02)


def write(path, size, seed=0):
    """Writes the model to `path`, whole or not at all."""
    random = numpy.random.default_rng(seed)
    header, offset = {}, 0
    for name, shape in shapes(size).items():
        end = offset + 4 * int(numpy.prod(shape, dtype=numpy.int64))
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".tmp", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, entry in header.items():
            file.write(numpy.asarray(values(name, entry["shape"], random), "<f4").tobytes())
    os.replace(path + ".tmp", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="b16")
    parser.add_argument("--out", required=True, help="the .safetensors file to write")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write(args.out, SIZES[args.size], args.seed)


if __name__ == "__main__":
    main()
