"""What ``lift.load`` says of files that it cannot use, where it finds models of the hub, and pixels."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import unittest
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

# It finds the package where that is not installed.
from folders import golden, read_safetensors, tiny_clip, write_run, write_safetensors

# isort: split
import lift
import numpy as np
import torch
from lift import file_hash, hub
from lift.pixels import preprocessed


class Folder(unittest.TestCase):
    """A folder with a run of a tiny CLIP."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.model = write_safetensors(self.folder / "clip.safetensors", tiny_clip())
        self.tuned = {
            "classifier.weight": torch.ones(3, 64),
            "image_encoder.blocks.1.attn.lora.q.down": torch.ones(64, 2),
            "image_encoder.blocks.1.attn.lora.q.up": torch.ones(2, 64),
        }
        self.run_dir = self.write()

    def write(self, tensors: dict[str, torch.Tensor] | None = None, **settings: Any) -> Path:
        tensors = self.tuned if tensors is None else tensors
        return write_run(self.folder / "run", "../clip.safetensors", tensors, 3, **settings)

    def says(self, *parts: str, load: Callable[[], object] | None = None) -> str:
        """The message of what loading raises, each of whose parts must be there."""
        with self.assertRaises(lift.LiftError) as raised:
            (load or (lambda: lift.load(self.run_dir)))()
        message = str(raised.exception)
        for part in (*parts, "\nhint: "):
            self.assertIn(part, message)
        return message


class Runs(Folder):
    def test_folders_that_are_no_run(self) -> None:
        self.assertTrue(lift.load(self.run_dir))
        missing = self.folder / "none"
        message = self.says("no such file", "lift-train --out", load=lambda: lift.load(missing))
        self.assertTrue(message.startswith(f"{missing}/config.toml: "), message)
        (self.run_dir / "tuned.safetensors").unlink()
        self.says("tuned.safetensors: no such file", "lift-train resume")
        (self.run_dir / "config.toml").unlink()
        write_safetensors(self.run_dir / "classifier.safetensors", {})
        self.says("config.toml: no such file", "export --format folder")
        self.says("config.toml: not a directory", load=lambda: lift.load(self.model))

    def test_settings(self) -> None:
        for settings, part in (
            ({"classifier": "nearest"}, "classifier 'nearest' is not known"),
            ({"classifier": 3}, "classifier is 3, expected a text"),
            ({"scale": "large"}, "scale is 'large', expected a number"),
            ({"resolution": 13}, "resolution 13 does not fit patches of 4 pixels\nhint: use a multiple of 4"),
            ({"resolution": True}, "resolution is True, expected a whole number"),
            ({"classifier": "text"}, "class_texts is missing"),
            ({"classifier": "linear"}, "classifier.bias is missing"),
        ):
            with self.subTest(part):
                self.write(**settings)
                self.says(part)
        config = self.run_dir / "config.toml"
        for text, part in (("model = [", "no TOML"), ("scale = 25.0", "model is missing"), ("\udcff", "no UTF-8")):
            config.write_bytes(text.encode("utf-8", "surrogateescape"))
            self.assertTrue(self.says(part).startswith(f"{config}: "))

    def test_tuned_tensors(self) -> None:
        block = "image_encoder.blocks.1."
        up = f"{block}attn.lora.q.up"
        for change, part in (
            ({up: None}, f"{up} is missing"),
            ({up: torch.ones(3, 64)}, f"{up} has shape [3, 64], the model needs [2, 64]"),
            ({"classifier.weight": None}, "classifier.weight is missing"),
            ({"classifier.weight": torch.ones(4, 64)}, "classifier.weight has shape [4, 64]"),
            ({"classifier.bias": torch.ones(3)}, "classifier.bias belongs to no known tuner"),
            ({f"{block}attn.moe.gate": torch.ones(2)}, "attn.moe.gate belongs to no known tuner"),
            ({"image_encoder.norm": torch.ones(2)}, "image_encoder.norm belongs to no known tuner"),
            ({"image_encoder.blocks.x.prompt": torch.ones(2, 64)}, "prompt belongs to no known tuner"),
            ({"image_encoder.blocks.7.prompt": torch.ones(2, 64)}, "is for block 7, the model has 2"),
            ({f"{block}prompt": torch.ones(64)}, "prompt has shape [64]"),
            ({f"{block}norm1_bias": torch.ones(3)}, "norm1_bias has shape [3], the model needs [64]"),
            ({f"{block}adaptformer.scale": torch.ones(())}, "adaptformer.norm.weight is missing"),
            ({f"{block}attn.aft.out_proj.masked_bias.mask": torch.ones(64)}, "is no mask"),
            ({f"{block}attn.aft.out_proj.masked_bias.mask": torch.ones(64) > 0}, "optimized_params is missing"),
            ({"image_projection": torch.ones(64, 9)}, "image_projection has shape [64, 9], the model needs [64, 16]"),
            ({"clip_adapter.up.weight": torch.ones(16, 4)}, "clip_adapter.down.weight is missing"),
            ({up: torch.full((2, 64), float("nan"))}, "128 of 128, the first at [0, 0] is nan"),
        ):
            with self.subTest(part):
                tensors = {name: t for name, t in (self.tuned | change).items() if t is not None}
                self.write(tensors)
                self.assertTrue(self.says(part).startswith(f"{self.run_dir}/tuned.safetensors: "))

    def test_damaged_files_of_tensors(self) -> None:
        path = self.run_dir / "tuned.safetensors"
        whole = path.read_bytes()
        _, metadata = read_safetensors(path)
        entry = b'"dtype": "F32", "shape": [3, 64]'
        for data, part in (
            (b"", "its header is not all there"),
            (whole[:100], "its header is not all there"),
            (whole[:-1], "its header asks for"),
            (whole + b"\0", "its header asks for"),
            (b"\xff" * 16, "its header is not all there"),
            (whole[:8] + b"[" + whole[9:], "its header is no JSON"),
            (whole.replace(entry, entry.replace(b"[3", b"[4")), "bytes for shape [4, 64] of F32"),
            (whole.replace(entry, entry.replace(b"F32", b"F31")), "unsupported type F31"),
            (whole.replace(entry, entry.replace(b"[3", b"-3")), "its header is no JSON"),
            (whole.replace(b"[0, 768]", b"[8, 776]"), "begins at byte"),
        ):
            with self.subTest(part):
                path.write_bytes(data)
                self.says("tuned.safetensors: not a whole safetensors file: ", part)
        for key, value, part in (
            ("format", "lift-tuned/9", "format lift-tuned/9, expected lift-tuned/1"),
            ("class_names", "[1]", "class_names in the metadata is no list of texts"),
            ("class_names", "{", "class_names in the metadata is no list of texts"),
            ("class_names", '["a"]', "the model and its classes need [1, 64]"),
            ("template", None, "no template in the metadata"),
        ):
            with self.subTest(part):
                changed = {k: v for k, v in {**metadata, key: value}.items() if v is not None}
                write_safetensors(path, self.tuned, changed)
                self.says(part)

    def test_an_adjustment_that_is_not_the_runs(self) -> None:
        path = self.run_dir / "adjust.toml"
        text = (
            'format = "lift-adjust/1"\nclass_hash = "0123456789abcdef"\n'
            f'tuned = "{file_hash.of_file(self.run_dir / "tuned.safetensors")}"\n'
            "temperature = 2.0\nbias = [1.0, 2.0, -3.0]\n"
        )
        path.write_text(text)
        self.assertTrue(lift.load(self.run_dir))
        for old, new, part in (
            ("adjust/1", "adjust/2", "format lift-adjust/2, expected lift-adjust/1"),
            ('tuned = "', 'tuned = "0', "chosen for another tuned.safetensors"),
            ("-3.0]", "-3.0, 1]", "it is for 4 other classes, the run has 3"),
            ("0123", "3210", "other classes"),
            ("-3.0", "nan", "no usable number"),
            ("-3.0", '"x"', "bias is no list of numbers"),
            ("2.0\n", "0.0\n", "no usable number"),
            ("bias", "biases", "unknown field biases"),
            ("bias", 'texts = "0"\nbias', "adjust-texts.safetensors is not what it was chosen with"),
        ):
            with self.subTest(part):
                path.write_text(text.replace(old, new, 1))
                self.assertTrue(self.says(part, "adjust=False").startswith(f"{path}: "))
                self.assertTrue(lift.load(self.run_dir, adjust=False))

    def test_a_device_and_images_that_cannot_be(self) -> None:
        self.says("device nowhere: ", load=lambda: lift.load(self.run_dir, device="nowhere"))
        loaded = lift.load(self.run_dir)
        for shape in ((3, 12, 12), (1, 3, 12, 16), (1, 12, 12, 3)):
            self.says("images: shape", "expected (b, 3, 12, 12)", load=partial(loaded, torch.zeros(shape)))
        for image in (
            "photo.jpg",
            np.zeros((4, 4), np.uint8),
            np.zeros((4, 4, 3), np.float32),
            np.zeros((0, 4, 3), np.uint8),
        ):
            self.says("image: ", load=partial(loaded.preprocess, image))

    def test_errors_travel_between_processes(self) -> None:
        error = lift.LiftError.at("a/b", "it is broken", "mend it")
        self.assertEqual(str(pickle.loads(pickle.dumps(error))), "a/b: it is broken\nhint: mend it")


class Models(Folder):
    def test_checkpoints(self) -> None:
        good = tiny_clip()
        name = "visual.transformer.resblocks.1.attn.in_proj_bias"
        for change, part in (
            ({name: None}, "transformer.resblocks.1.attn.in_proj_bias: missing, expected shape [192]"),
            ({name: torch.ones(5)}, "transformer.resblocks.1.attn.in_proj_bias: shape [5], expected [192]"),
            ({name: torch.full([192], float("inf"))}, "192 of 192, the first at [0] is inf"),
            ({"visual.extra": torch.ones(5)}, "extra: not part of this model (shape [5])"),
            ({"visual.class_embedding": None}, "unknown checkpoint layout"),
            ({"visual.proj": None}, "proj: missing"),
            (
                {"visual.conv1.weight": torch.ones(63, 3, 4, 4)},
                "conv1.weight has width 63, no multiple of the head width 64",
            ),
        ):
            with self.subTest(part):
                tensors = {key: t for key, t in (good | change).items() if t is not None}
                write_safetensors(self.model, tensors)
                self.assertIn("clip.safetensors: ", self.says(part).splitlines()[0])

    def test_configurations(self) -> None:
        folder = self.folder / "model"
        folder.mkdir()
        load = lambda: lift.load(self.run_dir, model=folder)  # noqa: E731
        self.says(f"{folder}: a folder without a file of tensors", load=load)
        write_safetensors(folder / "model.safetensors", {"vision_model.embeddings.class_embedding": torch.ones(3)})
        self.says("config.json: no such file", load=load)
        config = folder / "config.json"
        for text, part in (
            ("{", "config.json: no JSON"),
            ("[]", "config.json: no JSON object"),
            ("{}", "vision_config is missing"),
            ('{"vision_config": {"hidden_size": "wide"}}', "hidden_size is 'wide', expected a whole number"),
            ('{"vision_config": {"hidden_size": 100}}', "vision_config.hidden_size 100 is not a multiple of 12"),
            ('{"vision_config": {"patch_size": 0}}', "vision_config.image_size 224 is not a multiple of 0"),
            ('{"vision_config": {"hidden_act": "relu"}}', "hidden_act 'relu' is not supported"),
            ('{"vision_config": {"num_hidden_layers": 0}}', "the image tower has 0 layers"),
        ):
            with self.subTest(part):
                config.write_text(text)
                self.says(part, load=load)
        # A tower in OpenAI's names, with what open_clip says of it.
        (folder / "model.safetensors").unlink()
        config.unlink()
        write_safetensors(folder / "open_clip_model.safetensors", tiny_clip())
        images = torch.randn([1, 3, 12, 12], generator=torch.Generator().manual_seed(0))
        quick = load()(images)
        (folder / "open_clip_config.json").write_text('{"model_cfg": {"vision_cfg": {"head_width": 32}}}')
        loaded = load()
        self.assertEqual((loaded.visual.sizes.heads, loaded.visual.sizes.is_quick_gelu), (2, False))
        self.assertFalse(torch.equal(loaded(images), quick))
        (folder / "open_clip_config.json").write_text('{"model_cfg": {"vision_cfg": {"pool_type": "avg"}}}')
        self.says("not a tower like CLIP's", load=load)
        (folder / "open_clip_config.json").unlink()
        processor = folder / "preprocessor_config.json"
        processor.write_text('{"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3]}')
        self.assertEqual((load().mean, load().std), ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0)))
        processor.write_text('{"image_std": [1, 0, 3]}')
        self.says("preprocessor_config.json: image_std [1.0, 0.0, 3.0] must be above zero", load=load)

    def test_an_index_and_its_files(self) -> None:
        folder = self.folder / "model"
        folder.mkdir()
        index = folder / "model.safetensors.index.json"
        load = lambda: lift.load(self.run_dir, model=folder)  # noqa: E731
        for places, part in (
            ({}, "it lists no tensor"),
            ({"a": "../clip.safetensors"}, "not the name of a file of tensors beside the index"),
            ({"a": "one.safetensors"}, "one.safetensors: no such file"),
        ):
            index.write_text(json.dumps({"weight_map": places}))
            self.says(part, load=load)
        for name in ("one", "two"):
            write_safetensors(folder / f"{name}.safetensors", {"a": torch.ones(1)})
        index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
        self.says("a is in two.safetensors and in a file before it", load=load)

    def test_pickles_run_nothing(self) -> None:
        class Program:
            def __reduce__(self) -> Any:
                return os.mkdir, (str(ran),)

        ran, path = self.folder / "ran", self.folder / "clip.pt"
        load = lambda: lift.load(self.run_dir, model=path)  # noqa: E731
        for saved, part in (
            ({"visual.class_embedding": Program()}, "no state dict"),
            ([torch.ones(1)], "something else than a dictionary"),
            ({"a": torch.ones(1), "b": 3}, "'b' in it is no tensor"),
            ({1: torch.ones(1)}, "names that are no text"),
            ({"a": torch.ones(2).to_sparse()}, "sparse"),
        ):
            with self.subTest(part):
                torch.save(saved, path)
                # PyTorch warns of sparse tensors.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self.assertTrue(self.says(part, load=load).startswith(f"{path}: "))
        self.assertFalse(ran.exists())
        path.write_bytes(path.read_bytes()[:-200])
        self.says("it cannot be read", load=load)

    def test_names_on_the_hub(self) -> None:
        for name in (
            "openai/clip-vit-base-patch16",
            "timm/vit_base_patch16_224.augreg_in21k",
            "a/b@refs/pr/15",
            "a/b@" + "0" * 40,
        ):
            self.assertTrue(hub.is_name(name), name)
        for path in (
            "clip",
            "/clip",
            "./clip",
            "../clip",
            "clip/",
            "a/b/c",
            "m/vit.pt",
            "a/b--c",
            "a/b..c",
            "a/b@",
            "a/b@../c",
            "ä/b",
        ):
            self.assertFalse(hub.is_name(path), path)
        run = write_run(self.run_dir, "org/clip@v1", self.tuned, 3)
        cache = self.folder / "cache"
        with mock.patch.dict(os.environ, {"HF_HUB_CACHE": str(cache)}):
            self.says("org/clip@v1: no such file or folder, nor in the cache", "hf download org/clip --revision v1")
            commit = "0a" * 20
            snapshot = cache / "models--org--clip" / "snapshots" / commit
            snapshot.mkdir(parents=True)
            write_safetensors(snapshot / "open_clip_model.safetensors", tiny_clip())
            self.says("nor in the cache")
            refs = cache / "models--org--clip" / "refs"
            refs.mkdir()
            (refs / "v1").write_text(commit)
            self.assertTrue(lift.load(run))
            self.assertTrue(lift.load(run, model=f"org/clip@{commit}"))
        # A folder of that name in the run's own is meant before the hub's.
        own = run / "org" / "clip@v1"
        own.mkdir(parents=True)
        write_safetensors(own / "model.safetensors", tiny_clip())
        self.assertTrue(lift.load(run))
        self.says("no/where: no such file or folder", load=lambda: lift.load(run, model="no/where"))
        self.says("./no/where: no such file or folder\n", load=lambda: lift.load(run, model="./no/where"))


class Small(unittest.TestCase):
    def test_hashes_are_those_of_xxhash(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file"
            data = bytes(i * i % 251 for i in range(5000))
            # python: xxhash.xxh3_64_hexdigest(data[:length])
            for length, expected in EXPECTED_HASHES.items():
                path.write_bytes(data[:length])
                self.assertEqual(file_hash.of_file(path), expected, length)
            path.write_bytes(data[:240])
            with self.assertRaises(lift.LiftError):
                file_hash.of_file(path)

    def test_pixels_are_pillows(self) -> None:
        try:
            from PIL import Image
        except ModuleNotFoundError:
            self.skipTest("no Pillow")
        folder = golden("preprocess")
        for source in json.loads((folder / "manifest.json").read_text()):
            for op in source["ops"]:
                if op["op"] != "resize_short_then_center_crop" or op["short"] != op["size"] + op["size"] // 7:
                    continue
                image, expected = (Image.open(folder / name) for name in (source["source"], op["out"]))
                found = preprocessed(image, op["size"], (0.0,) * 3, (1.0,) * 3) * 255
                wanted = torch.from_numpy(np.array(expected.convert("RGB"))).permute(2, 0, 1)
                difference = (found - wanted).abs()
                self.assertLess(difference.max().item(), 1.5, source["source"])
                self.assertGreater((difference < 0.5).float().mean().item(), 0.99, source["source"])
                again = preprocessed(np.array(image.convert("RGB")), op["size"], (0.0,) * 3, (1.0,) * 3) * 255
                self.assertTrue(torch.equal(found, again))

    def test_images_of_every_mode(self) -> None:
        try:
            from PIL import Image
        except ModuleNotFoundError:
            self.skipTest("no Pillow")

        def first(image: Any) -> list[int]:
            return (preprocessed(image, 7, (0.0,) * 3, (1.0,) * 3)[:, 0, 0] * 255).round().int().tolist()

        half = Image.new("RGBA", (9, 8), (255, 0, 0, 128))
        self.assertEqual(first(half), [255, 127, 127])
        self.assertEqual(first(Image.new("L", (9, 8), 77)), [77] * 3)
        self.assertEqual(first(Image.new("1", (9, 8), 1)), [255] * 3)
        self.assertEqual(first(Image.fromarray(np.full((8, 9), 257 * 100, np.uint16))), [100] * 3)
        self.assertEqual(first(half.convert("P")), first(half.convert("RGB").convert("P")))

    def test_the_package_is_light_until_it_is_used(self) -> None:
        program = "import sys, lift; assert 'torch' not in sys.modules; lift.load; assert 'torch' in sys.modules"
        package = Path(lift.__file__).parents[1]
        subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": str(package)})
        with self.assertRaises(AttributeError):
            lift.Nothing  # noqa: B018


EXPECTED_HASHES = {
    241: "fa3e3f950b821a67",
    256: "5d47b716ae4e6cc9",
    1024: "a3115476086f73f1",
    1025: "66b070bd27327c00",
    1088: "c1e20c0fd2599af8",
    2048: "5ede5a805924185a",
    5000: "924c0d5e41418245",
}

if __name__ == "__main__":
    unittest.main()
