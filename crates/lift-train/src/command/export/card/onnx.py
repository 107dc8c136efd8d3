import json
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
about = session.get_modelmeta().custom_metadata_map
names = json.loads(about["class_names"])
side, short = int(about["resolution"]), int(about["resize"])

# The short side to `resize` pixels, then the square in the middle.
image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
size = [short * length // min(image.size) for length in image.size]
image = image.resize(size, Image.Resampling.BICUBIC)
left, top = (round((length - side) / 2) for length in size)
image = image.crop((left, top, left + side, top + side))

pixels = np.asarray(image)[np.newaxis]
probabilities = session.run(["probabilities"], {"pixels": pixels})[0][0]
for label in probabilities.argsort()[::-1][:5]:
    print(f"{probabilities[label]:.2%} {names[label]}")
