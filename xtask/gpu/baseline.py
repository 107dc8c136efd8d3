"""Measures LIFT+ fine-tuning written in plain PyTorch, the way its authors train: what LIFT is compared with.

CLIP's image tower, frozen and in fp32, AdaptFormer in every block, a cosine classifier, logit-adjusted loss, SGD with
momentum, on a GPU autocast to fp16 and a GradScaler; `--stage evaluation` is the forward pass alone. Images come from a
batch that already lies on the device (`--data ideal`), or from JPEG files through a DataLoader with torchvision's
RandomResizedCrop and flip (`--data files`). Written from the papers (arXiv 2309.10019, 2504.13282); it waits for the device only when it logs. Prints one JSON document.
"""

import argparse
import json
import math
import struct
import time

import numpy
import torch
from torch import nn
from torch.nn import functional as F

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
HEAD_WIDTH = 64
LOG_EVERY = 10


class QuickGelu(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x):
        b, n, width = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.view(b, n, 3, self.heads, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(x.transpose(1, 2).reshape(b, n, width))


class AdaptFormer(nn.Module):
    def __init__(self, width, size):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.down = nn.Linear(width, size)
        self.up = nn.Linear(size, width)
        self.scale = nn.Parameter(torch.ones(()))
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for tensor in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(tensor)

    def forward(self, x):
        return self.up(F.relu(self.down(self.norm(x)))) * self.scale


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGelu())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x, adapter):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x)) + adapter(x)


class Tower(nn.Module):
    """CLIP's image tower up to the LayerNorm on the class token; parameters are named as in OpenAI's files."""

    def __init__(self, tensors):
        super().__init__()
        width, _, patch, _ = tensors["conv1.weight"].shape
        layers = sum(name.endswith("attn.in_proj_weight") for name in tensors)
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(tensors["positional_embedding"].shape))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(Block(width) for _ in range(layers))
        self.ln_post = nn.LayerNorm(width)
        self.load_state_dict(tensors)
        self.requires_grad_(False)
        self.width = width
        self.resolution = patch * math.isqrt(len(self.positional_embedding) - 1)

    def forward(self, images, adapters):
        x = self.conv1(images).flatten(2).transpose(1, 2)
        token = self.class_embedding.to(x.dtype).expand(len(x), 1, -1)
        x = self.ln_pre(torch.cat([token, x], 1) + self.positional_embedding)
        for block, adapter in zip(self.transformer.resblocks, adapters):
            x = block(x, adapter)
        return self.ln_post(x[:, 0])


class TunedModel(nn.Module):
    def __init__(self, tower, classes, scale=25.0):
        super().__init__()
        layers = len(tower.transformer.resblocks)
        size = 2 ** max(0, math.floor(math.log2(classes / (2 * layers))))
        self.tower, self.scale = tower, scale
        self.adapters = nn.ModuleList(AdaptFormer(tower.width, size) for _ in range(layers))
        self.classifier = nn.Parameter(F.normalize(torch.randn(classes, tower.width), dim=-1))

    def forward(self, images):
        features = self.tower(images, self.adapters)
        cosines = F.linear(F.normalize(features, dim=-1), F.normalize(self.classifier, dim=-1))
        return self.scale * cosines


def read_tower(path):
    """The image tower's tensors of a safetensors file in OpenAI's names."""
    with open(path, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header, data = json.loads(file.read(length)), file.read()
    tensors = {}
    for name, entry in header.items():
        if name.startswith("visual.") and name != "visual.proj":
            start, end = entry["data_offsets"]
            array = numpy.frombuffer(data[start:end], "<f4").reshape(entry["shape"])
            tensors[name.removeprefix("visual.")] = torch.from_numpy(array.copy())
    return Tower(tensors)


def ideal_batches(args, resolution):
    """The same batch on the device, over and over."""
    images = torch.randn(args.batch_size, 3, resolution, resolution, device=args.device)
    labels = torch.randint(args.num_classes, (args.batch_size,), device=args.device)
    while True:
        yield images, labels


class Photos(torch.utils.data.Dataset):
    """The images of a list, read and augmented as torchvision does it."""

    def __init__(self, root, lines, resolution):
        from torchvision import transforms

        self.root, self.rows = root, [line.split() for line in lines]
        self.transform = transforms.Compose([
            transforms.RandomResizedCrop(resolution, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ])

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        from PIL import Image

        path, label = self.rows[index]
        with Image.open(f"{self.root}/{path}") as image:
            return self.transform(image.convert("RGB")), int(label)


def file_batches(args, resolution):
    """Shuffled batches of the list's images, epoch after epoch."""
    with open(args.list) as file:
        photos = Photos(args.images, file, resolution)
    loader = torch.utils.data.DataLoader(
        photos,
        batch_size=args.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=args.workers,
        pin_memory=args.device != "cpu",
        persistent_workers=True,
    )
    while True:
        for images, labels in loader:
            yield images.to(args.device, non_blocking=True), labels.to(args.device, non_blocking=True)


def class_priors(args):
    """log p of each class: of the list where there is one, else of a balanced one."""
    counts = numpy.ones(args.num_classes)
    if args.list:
        with open(args.list) as file:
            labels = [int(line.split()[1]) for line in file]
        counts = numpy.bincount(labels, minlength=args.num_classes)
    return torch.tensor(counts / counts.sum(), dtype=torch.float32).log().to(args.device)


class Trainer:
    """A step of training."""

    def __init__(self, model, log_priors, device, lr=0.02):
        self.model, self.log_priors, self.device = model, log_priors, torch.device(device).type
        self.tuned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.SGD(self.tuned, lr=lr, momentum=0.9, weight_decay=5e-4)
        self.half = self.device == "cuda"
        self.scaler = torch.amp.GradScaler(self.device, enabled=self.half)

    def step(self, images, labels):
        with torch.autocast(self.device, torch.float16, enabled=self.half):
            logits = self.model(images)
            loss = F.cross_entropy(logits + self.log_priors, labels)
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return loss.detach()

    @torch.no_grad()
    def evaluate(self, images, labels):
        with torch.autocast(self.device, torch.float16, enabled=self.half):
            return F.cross_entropy(self.model(images), labels)


def measure(trainer, batches, args):
    """Steps, or forward passes, for about so many seconds, after some that are not counted."""
    step = trainer.step if args.stage == "step" else trainer.evaluate

    def wait():
        if trainer.device == "cuda":
            torch.cuda.synchronize()

    for _ in range(args.warm_up):
        loss = step(*next(batches))
    wait()
    start, steps = time.monotonic(), 0
    log_every = LOG_EVERY if trainer.device == "cuda" else 1
    while time.monotonic() - start < args.seconds or steps % log_every != 0:
        loss = step(*next(batches))
        steps += 1
        if steps % log_every == 0:
            loss.item()  # as a log line does; without it the clock would run ahead of the device
    wait()
    seconds = time.monotonic() - start
    return steps, seconds, loss.item()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="safetensors file of a CLIP, in OpenAI's names and fp32")
    parser.add_argument("--stage", choices=["step", "evaluation"], default="step")
    parser.add_argument("--data", choices=["ideal", "files"], default="ideal")
    parser.add_argument("--list", help="lines `path label`; with --data files")
    parser.add_argument("--images", help="folder that the list's paths start in")
    parser.add_argument("--num-classes", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=16, help="processes of the DataLoader")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--seconds", type=float, default=5, help="about how long is measured")
    parser.add_argument("--warm-up", type=int, default=20, help="steps before that")
    args = parser.parse_args()
    if args.data == "files" and not (args.list and args.images):
        parser.error("--data files needs --list and --images")
    torch.manual_seed(0)
    model = TunedModel(read_tower(args.model), args.num_classes).to(args.device)
    trainer = Trainer(model, class_priors(args), args.device)
    resolution = model.tower.resolution
    batches = ideal_batches(args, resolution) if args.data == "ideal" else file_batches(args, resolution)
    steps, seconds, loss = measure(trainer, batches, args)
    on_gpu = trainer.device == "cuda"
    print(json.dumps({
        "format": "lift-baseline/1",
        "torch": torch.__version__,
        "stage": args.stage,
        "data": args.data,
        "device": args.device,
        "precision": "amp-fp16" if on_gpu else "fp32",
        "batch_size": args.batch_size,
        "tuned_parameters": sum(parameter.numel() for parameter in trainer.tuned),
        "steps": steps,
        "seconds": seconds,
        "images_per_second": steps * args.batch_size / seconds,
        "milliseconds": 1000 * seconds / steps,
        "peak_device_bytes": torch.cuda.max_memory_allocated() if on_gpu else None,
        "last_loss": loss,
    }))


if __name__ == "__main__":
    main()
