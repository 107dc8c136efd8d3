//! How what was exported is used, a text a form.
//!
//! Invariant: every snippet that is complete is run by a test (`tests/cli/export.rs`) where what it needs is installed.

use lift_models::Layout;

use super::Taken;
use crate::{classifier::ClassifierKind, command::export::source::Base};

/// The section's text.
pub(super) fn usage(taken: &Taken, base: &Base, kind: ClassifierKind) -> String {
    let load = match taken {
        Taken::Folder => {
            return "The folder is a run of `lift-train` with its model beside it. It may be moved and renamed as a whole.\n\n\
                ```sh\nlift-train eval FOLDER --shards SHARDS --tte five-crop\n```\n\n\
                `SHARDS` is what `lift-data build` made, with the same classes. `docs/run-format.md` of LIFT says what the tensors are, \
                and how they are read from Python.\n"
                .into();
        }
        Taken::Onnx(name) => {
            let program = GRAPH.replace("model.onnx", name);
            return format!(
                "Bytes of RGB pixels in, logits and probabilities out:\n\n```python\n{program}```\n"
            );
        }
        Taken::Merged(Layout::HuggingFace) => "from transformers import CLIPVisionModel\n\
             tower = CLIPVisionModel.from_pretrained(\".\").eval()\n"
            .to_owned(),
        Taken::Peft => {
            let name = serde_json::json!(base.name);
            let (revision, note) = match &base.revision {
                Some(revision) => (format!(", revision={}", serde_json::json!(revision)), ""),
                None => (String::new(), "  # the base model's folder"),
            };
            format!(
                "from peft import PeftModel\n\
                 from transformers import CLIPModel\n\
                 base = CLIPModel.from_pretrained({name}{revision}).float(){note}\n\
                 tower = PeftModel.from_pretrained(base, \".\").eval().base_model.model.vision_model\n"
            )
        }
        Taken::Merged(layout) => {
            let how = match layout {
                Layout::Timm => {
                    "timm reads `model.safetensors` with `timm.create_model(NAME, num_classes=0, checkpoint_path=..)`, NAME being the base \
                     model's architecture; the feature x is what `forward_features` gives for the class token (position 0)."
                }
                _ => {
                    "open_clip reads `open_clip_model.safetensors` with `open_clip.create_model(NAME, pretrained=..)`, NAME being the base \
                     model's architecture; the feature x is the class token after `visual.ln_post`, before `visual.proj`."
                }
            };
            return format!(
                "{how} Logits are `classifier.safetensors`'s formula of x (it stands under Model), in the order of `classes.json`. The folder \
                 is also a model for `lift-train --model FOLDER`.\n"
            );
        }
    };
    let classifier = match kind {
        ClassifierKind::Cosine => "scale * normalize(x) @ normalize(weight).T",
        ClassifierKind::Linear => "x @ weight.T + file.get_tensor(\"bias\")",
        ClassifierKind::L2norm => "x @ normalize(weight).T",
        ClassifierKind::Layernorm => {
            "torch.nn.functional.layer_norm(x, x.shape[-1:], eps=1e-12) @ normalize(weight).T"
        }
        ClassifierKind::Text => {
            return format!(
                "```python\n{load}```\n\nThe classifier's formula stands under Model.\n"
            );
        }
    };
    format!("```python\n{HEAD}{load}{PIXELS}    logits = {classifier}\n{TAIL}```\n")
}

/// Stands in `docs/export.md` too.
const GRAPH: &str = include_str!("onnx.py");

const HEAD: &str = "import json, numpy, torch
from PIL import Image
from safetensors import safe_open
from torch.nn.functional import normalize
";

const PIXELS: &str = "
config = json.load(open(\"preprocessor_config.json\"))
image = Image.open(\"photo.jpg\").convert(\"RGB\")
short, side = config[\"size\"][\"shortest_edge\"], config[\"crop_size\"][\"height\"]
size = [max(short, int(n * short / min(image.size))) for n in image.size]
image = image.resize(size, Image.BICUBIC)
left, top = [round((n - side) / 2) for n in size]
pixels = numpy.asarray(image.crop((left, top, left + side, top + side)), \"float32\") / 255
pixels = (pixels - numpy.float32(config[\"image_mean\"])) / numpy.float32(config[\"image_std\"])
pixels = torch.tensor(pixels).permute(2, 0, 1)[None]

with torch.no_grad(), safe_open(\"classifier.safetensors\", \"pt\") as file:
    weight, scale = file.get_tensor(\"weight\"), float(file.metadata()[\"scale\"])
    x = tower(pixel_values=pixels).pooler_output
";

const TAIL: &str = "print(json.load(open(\"classes.json\"))[logits.argmax()])
";
