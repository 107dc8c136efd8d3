"""``lift.load`` against golden values, against formulas written out by hand, and against runs that the trainer made."""

from __future__ import annotations

import copy
import json
import os
import shutil
import tempfile
import unittest
from pathlib import Path
from typing import Any

# It finds the package where that is not installed.
from folders import golden, read_safetensors, tiny_clip, write_run, write_safetensors

# isort: split
import lift
import torch
import torch.nn.functional as F
from lift import file_hash
from lift.model_file import open_tower
from lift.tower import resampled_positions
from torch import Tensor

CLASSIFIERS = {
    "CosineClassifier": "cosine",
    "LinearClassifier": "linear",
    "L2NormClassifier": "l2norm",
    "LayerNormClassifier": "layernorm",
}


def deviation(found: Tensor, expected: Tensor) -> float:
    """The largest difference over the largest expected value."""
    return ((found - expected).abs().max() / expected.abs().max()).item()


class Goldens(unittest.TestCase):
    """Numbers of OpenAI's CLIP package, timm, and the authors' modules."""

    def test_towers_of_all_layouts(self) -> None:
        for forward, model in (
            ("clip-forward", "clip-hf"),
            ("clip-forward", "clip-openai-layout.safetensors"),
            ("vit-timm-forward", "vit-timm-layout.safetensors"),
        ):
            with self.subTest(model):
                expected, _ = read_safetensors(golden(f"{forward}.safetensors"))
                tower = open_tower(str(golden(model)))
                features = tower(expected["images"])
                self.assertLess(deviation(features, expected["class_token_features"]), 1e-5)
                if tower.proj is not None:
                    self.assertLess(deviation(features @ tower.proj, expected["image_embeds"]), 1e-5)

    def test_a_state_dict_of_torch_save_is_read_as_safetensors_are(self) -> None:
        tensors, _ = read_safetensors(golden("clip-openai-layout.safetensors"))
        expected, _ = read_safetensors(golden("clip-forward.safetensors"))
        with tempfile.TemporaryDirectory() as folder:
            for saved in (tensors, {"state_dict": tensors, "epoch": 3}):
                path = Path(folder) / "clip.pt"
                torch.save(saved, path)
                features = open_tower(str(path))(expected["images"])
                self.assertLess(deviation(features, expected["class_token_features"]), 1e-5)

    def test_a_model_in_several_files(self) -> None:
        tensors, _ = read_safetensors(golden("clip-hf/model.safetensors"))
        expected, _ = read_safetensors(golden("clip-forward.safetensors"))
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(golden("clip-hf/config.json"), folder)
            parts = {f"model-0000{n}-of-00002.safetensors": list(tensors)[n - 1 :: 2] for n in (1, 2)}
            for file, names in parts.items():
                write_safetensors(Path(folder) / file, {name: tensors[name] for name in names})
            places = {name: file for file, names in parts.items() for name in names}
            (Path(folder) / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
            features = open_tower(folder)(expected["images"])
            self.assertLess(deviation(features, expected["class_token_features"]), 1e-5)

    def test_every_tuner_of_the_authors(self) -> None:
        inputs, _ = read_safetensors(golden("train-inputs.safetensors"))
        images, crops = inputs["eval_images"].float(), inputs["five_crop_images"].float()
        with tempfile.TemporaryDirectory() as folder:
            for path in sorted(golden("tuners").glob("*.safetensors")):
                with self.subTest(path.stem):
                    stored, metadata = read_safetensors(path)
                    # The names are the authors', and ours.
                    tuned = {name.removeprefix("final."): t for name, t in stored.items() if name.startswith("final.")}
                    model = "vit-timm-layout.safetensors" if path.stem.startswith("timm") else "clip-hf"
                    kind = CLASSIFIERS[metadata["classifier"]]
                    run = write_run(Path(folder) / path.stem, golden(model), tuned, 100, classifier=kind)
                    loaded = lift.load(run)
                    with torch.no_grad():
                        logits = loaded(images)
                        averaged = loaded(crops.flatten(0, 1)).unflatten(0, crops.shape[:2]).mean(1)
                    self.assertLess(deviation(logits, stored["eval_logits"]), 1e-5)
                    self.assertLess(deviation(averaged, stored["five_crop_logits"]), 1e-5)
                    names = {name for name in loaded.state_dict() if not name.startswith("visual.")}
                    self.assertEqual(names, set(tuned))


class ByHand(unittest.TestCase):
    """A tiny CLIP with random values, and what its logits are by formulas that stand here once more."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.model = write_safetensors(self.folder / "clip.safetensors", tiny_clip())
        self.random = torch.Generator().manual_seed(1)
        self.images = self.values(5, 3, 12, 12)
        self.tower = open_tower(str(self.model))
        self.frozen = self.tower(self.images)

    def values(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.random)

    def run_of(self, tensors: dict[str, Tensor], **settings: Any) -> Path:
        return write_run(self.folder / "run", "../clip.safetensors", tensors, 3, **settings)

    def cosines(self, x: Tensor, rows: Tensor) -> Tensor:
        return (x / x.norm(dim=1, keepdim=True)) @ (rows / rows.norm(dim=1, keepdim=True)).T

    def assert_close(self, found: Tensor, expected: Tensor) -> None:
        self.assertLess(deviation(found, expected), 1e-5)

    def test_attributes(self) -> None:
        loaded = lift.load(self.run_of({"classifier.weight": self.values(3, 64)}))
        self.assertEqual(loaded.class_names, ["class 0", "class 1", "class 2"])
        self.assertEqual((loaded.class_counts, loaded.template), ([1, 2, 3], "a photo of a {}."))
        self.assertEqual((loaded.resolution, loaded.mean[0], loaded.std[2]), (12, 0.48145466, 0.27577711))
        self.assertFalse(loaded.training)
        probabilities = loaded.predict_proba(self.images)
        self.assertFalse(probabilities.requires_grad)
        self.assert_close(probabilities, loaded(self.images).softmax(1))
        self.assertTrue(torch.equal(loaded.features(self.images), self.frozen))

    def test_scale_of_the_settings(self) -> None:
        rows = self.values(3, 64)
        loaded = lift.load(self.run_of({"classifier.weight": rows}, scale=7.5))
        self.assert_close(loaded(self.images), 7.5 * self.cosines(self.frozen, rows))

    def test_parts_between_the_towers(self) -> None:
        texts, embeds = self.values(3, 16), self.frozen @ self.tower.proj
        cases: dict[str, tuple[dict[str, Tensor], Any]] = {}
        cases["texts"] = {}, lambda t: embeds
        cases["projection"] = {"image_projection": self.values(64, 16)}, lambda t: self.frozen @ t["image_projection"]
        down, up = "clip_adapter.down.weight", "clip_adapter.up.weight"
        cases["clip-adapter"] = (
            {down: self.values(4, 16), up: self.values(16, 4)},
            lambda t: 0.2 * F.relu(F.relu(embeds @ t[down].T) @ t[up].T) + 0.8 * embeds,
        )
        cases["coop"] = {"prompt_learner.ctx": self.values(4, 8)}, lambda t: embeds
        cases["projection-both"] = (
            {"image_projection": self.values(64, 16), "text_projection": self.values(8, 16)},
            lambda t: self.frozen @ t["image_projection"],
        )

        def residual(t: dict[str, Tensor]) -> Tensor:
            get = lambda name: t[f"image_adapter.{name}"]  # noqa: E731
            x = F.layer_norm(embeds, (16,), get("norm.weight"), get("norm.bias"))
            hidden = F.relu(x @ get("down.weight").T + get("down.bias"))
            return embeds + hidden @ get("up.weight").T + get("up.bias")

        shapes = {
            "norm.weight": [16],
            "norm.bias": [16],
            "down.weight": [4, 16],
            "down.bias": [4],
            "up.weight": [16, 4],
        }
        names = [*shapes.items(), ("up.bias", [16])]
        adapters = {
            f"{side}_adapter.{name}": self.values(*shape) for side in ("image", "text") for name, shape in names
        }
        cases["clip-adapter-both"] = adapters, residual
        for case, (tensors, embed) in cases.items():
            with self.subTest(case):
                loaded = lift.load(self.run_of({"class_texts": texts, **tensors}, classifier="text", scale=14.5))
                self.assert_close(loaded(self.images), 14.5 * self.cosines(embed(tensors), texts))
                names = {name for name in loaded.state_dict() if not name.startswith("visual.")}
                self.assertEqual(names, {"class_texts", *tensors})

    def test_modules_that_act_in_one_place(self) -> None:
        # LoRA before SSF, entries of AFT in the place of BitFit's: a linear that was computed by hand.
        block = "image_encoder.blocks.1."
        tuned = {
            "mlp.lora.in_proj.down": self.values(64, 2),
            "mlp.lora.in_proj.up": self.values(2, 96),
            "mlp_in_proj_bias": self.values(96),
            "mlp.aft.in_proj.masked_bias.mask": torch.arange(96) % 5 == 0,
            "mlp.aft.in_proj.masked_bias.optimized_params": self.values(20),
        }
        for module, linear, width in (
            ("attn", "in_proj", 192),
            ("attn", "out_proj", 64),
            ("mlp", "in_proj", 96),
            ("mlp", "out_proj", 64),
        ):
            ones = linear != "in_proj" or module == "attn"
            tuned[f"{module}.ssf.{linear}.scale"] = torch.ones(width) if ones else self.values(width)
            tuned[f"{module}.ssf.{linear}.shift"] = torch.zeros(width) if ones else self.values(width)
        rows = self.values(3, 64)
        run = self.run_of(
            {"classifier.weight": rows, **{block + name: t for name, t in tuned.items()}}, classifier="l2norm"
        )
        loaded = lift.load(run)
        # The same function without modules, in another tower.
        base = tiny_clip()
        name = "visual.transformer.resblocks.1.mlp.c_fc"
        bias = tuned["mlp_in_proj_bias"].clone()
        bias[::5] = tuned["mlp.aft.in_proj.masked_bias.optimized_params"]
        update = (tuned["mlp.lora.in_proj.down"] @ tuned["mlp.lora.in_proj.up"]).T / 2
        scale = tuned["mlp.ssf.in_proj.scale"]
        base[f"{name}.weight"] = (base[f"{name}.weight"] + update) * scale[:, None]
        base[f"{name}.bias"] = bias * scale + tuned["mlp.ssf.in_proj.shift"]
        other = open_tower(str(write_safetensors(self.folder / "other.safetensors", base)))
        expected = other(self.images) @ F.normalize(rows).T
        self.assert_close(loaded(self.images), expected)

    def test_a_moved_run_at_another_resolution(self) -> None:
        rows = self.values(3, 64)
        loaded = lift.load(self.run_of({"classifier.weight": rows}, resolution=20))
        base = tiny_clip(side=3)
        base["visual.positional_embedding"] = resampled_positions(base["visual.positional_embedding"], 5)
        other = open_tower(str(write_safetensors(self.folder / "larger.safetensors", base)))
        images = self.values(2, 3, 20, 20)
        self.assertEqual(loaded.resolution, 20)
        self.assert_close(loaded(images), 25 * self.cosines(other(images), rows))

    def test_an_adjustment_is_obeyed_or_left_out(self) -> None:
        rows, texts = self.values(3, 64), self.values(3, 16)
        tensors = {"classifier.weight": rows, "image_encoder.blocks.0.prompt": self.values(2, 64)}
        run = self.run_of(tensors)
        plain = lift.load(run)(self.images)
        metadata = {"format": "lift-head/1", "logit_scale": "12.5"}
        tensors = {"weight": rows, "text_embeds": texts}
        kept = write_safetensors(run / "adjust-texts.safetensors", tensors, metadata)
        lines = [
            'format = "lift-adjust/1"',
            'tool_version = "1"',
            'class_hash = "0123456789abcdef"',
            f'tuned = "{file_hash.of_file(run / "tuned.safetensors")}"',
            "temperature = 1.75",
            "bias = [-1.5, 0.25, 1.25]",
        ]
        (run / "adjust.toml").write_text("\n".join([*lines, "[chosen]", "tau = 0.5"]))
        bias = torch.tensor([-1.5, 0.25, 1.25])
        self.assert_close(lift.load(run)(self.images), (plain + bias) / 1.75)
        self.assertTrue(torch.equal(lift.load(run, adjust=False)(self.images), plain))
        lines.append(f'texts = "{file_hash.of_file(kept)}"')
        (run / "adjust.toml").write_text("\n".join([*lines, "[chosen]", "tau = 0.5"]))
        # The zero-shot logits are the frozen model's.
        added = 12.5 * self.cosines(self.frozen @ self.tower.proj, texts)
        self.assert_close(lift.load(run)(self.images), (plain + added + bias) / 1.75)

    def test_what_is_tuned_has_gradients_and_the_tower_has_none(self) -> None:
        tensors = {"classifier.weight": self.values(3, 64)}
        lora = {
            f"image_encoder.blocks.0.attn.lora.q.{end}": self.values(*s)
            for end, s in (("down", (64, 2)), ("up", (2, 64)))
        }
        mask = torch.arange(64) % 2 == 0
        aft = {"mask": mask, "optimized_params": self.values(32)}
        tensors |= lora | {f"image_encoder.blocks.1.mlp.aft.out_proj.masked_bias.{name}": t for name, t in aft.items()}
        loaded = lift.load(self.run_of(tensors))
        trained = {name for name, p in loaded.named_parameters() if p.requires_grad}
        self.assertEqual(trained, {name for name, t in tensors.items() if t.dtype is not torch.bool})
        loaded(self.images).logsumexp(1).sum().backward()
        for name, parameter in loaded.named_parameters():
            self.assertEqual(parameter.grad is not None, name in trained, name)
            self.assertTrue(parameter.grad is None or bool(parameter.grad.any()), name)

    def test_copies_and_other_precisions(self) -> None:
        block = "image_encoder.blocks.0."
        tensors = {"classifier.weight": self.values(3, 64), f"{block}prompt": self.values(2, 64)}
        tensors |= {f"{block}attn.lora.v.{end}": self.values(*s) for end, s in (("down", (64, 2)), ("up", (2, 64)))}
        loaded = lift.load(self.run_of(tensors))
        with torch.no_grad():
            logits = loaded(self.images)
            self.assertTrue(torch.equal(copy.deepcopy(loaded)(self.images), logits))
            half = loaded.to(torch.bfloat16)(self.images)
        self.assertEqual(half.dtype, torch.float32)
        self.assertLess(deviation(half, logits), 0.05)
        twice = loaded.double()(self.images.double())
        self.assertLess(deviation(twice, logits), 0.05)


class Positions(unittest.TestCase):
    def test_a_grid_is_resampled_as_pillow_does(self) -> None:
        # Pillow: Image.fromarray(x).resize((side, side), BICUBIC) of x[i][j] = ((7 i + 3 j) mod 11) / 4 - 1 in mode F;
        # the numbers of crates/lift-models/src/positions.rs, the third row of each.
        cases = {
            (4, 6): [0.65921205, 1.1861043, 1.3131886, -0.1289518, -0.23822168, 0.0769752],
            (7, 5): [0.7342204, 0.069484085, 0.35425913, -0.24928546, 0.48466116],
        }
        for (grid, side), expected in cases.items():
            values = [(7 * i + 3 * j) % 11 / 4 - 1 for i in range(grid) for j in range(grid)]
            column = torch.tensor([100.0, *values])
            # The second column is the negative of the first: columns must not mix.
            found = resampled_positions(torch.stack([column, -column], 1), side)
            self.assertEqual(found.shape, (1 + side * side, 2))
            self.assertEqual(found[0].tolist(), [100.0, -100.0])
            self.assertTrue(torch.equal(found[:, 0], -found[:, 1]))
            row = found[1 + 2 * side : 1 + 3 * side, 0]
            self.assertLess((row - torch.tensor(expected)).abs().max().item(), 1e-5)


class Runs(unittest.TestCase):
    """Runs that the trainer made: each folder of ``LIFT_TEST_RUNS`` with an ``expected.safetensors`` beside its files,
    which holds ``images`` (normalised) and ``logits``.
    """

    def test_logits_of_the_trainer(self) -> None:
        folder = os.environ.get("LIFT_TEST_RUNS")
        if not folder:
            self.skipTest("LIFT_TEST_RUNS names no folder of runs")
        found = sorted(Path(folder).glob("*/expected.safetensors"))
        self.assertTrue(found, f"{folder}: no run with an expected.safetensors")
        for path in found:
            with self.subTest(path.parent.name):
                expected, _ = read_safetensors(path)
                with torch.no_grad():
                    logits = lift.load(path.parent)(expected["images"])
                self.assertLess(deviation(logits, expected["logits"]), 1e-5)


if __name__ == "__main__":
    unittest.main()
