"""Draws the images of this folder and prints Pillow's pixels of each as a hash, for `src/decode/tests/`.

Needs pillow, numpy, tifffile, xxhash; cjpeg and jpegtran (libjpeg-turbo), convert (ImageMagick).
"""
import io, struct, subprocess
import numpy as np, tifffile, xxhash
from PIL import Image, ImageOps, PngImagePlugin

W, H = 45, 29
y, x = np.mgrid[0:H, 0:W]
pixels = np.stack([x * 5, y * 8, 255 - x * 3 - y * 2], -1).astype(np.uint8)
pixels[5:14, 8:30] = (230, 40, 30)
pixels[12:25, 24:40] = (20, 60, 200)
picture = Image.fromarray(pixels)

def run(data, *command):
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout

def saved(image, kind, **how):
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()

def put(name, data):
    open(name, "wb").write(data)
    try:
        with Image.open(name) as image:
            rgb = ImageOps.exif_transpose(image).convert("RGB")
        print(f'    ("{name}", ({rgb.width}, {rgb.height}), 0x{xxhash.xxh3_64_hexdigest(rgb.tobytes())}),')
    except OSError as err:
        print(name, err)

ppm = saved(picture, "PPM")
inks = saved(picture.convert("CMYK"), "TIFF")
open("/tmp/scans.txt", "w").write("0;\n1;\n2;\n3;\n")
for factors in ("2x2,1x1,1x1,2x2", "1x1,1x1,1x1,2x2", "1x1,2x2,2x2,1x1"):
    name = "ycck-" + factors.replace(",", "-")
    jpeg = run(inks, "convert", "tiff:-", "-strip", "-quality", "80", "-sampling-factor", factors, "jpeg:-")
    put(name + ".jpg", jpeg)
    put(name + "-progressive.jpg", run(jpeg, "jpegtran", "-progressive"))
put("ycck-scans.jpg", run(jpeg, "jpegtran", "-scans", "/tmp/scans.txt"))
at = jpeg.index(b"Adobe") - 4
put("cmyk-without-adobe.jpg", jpeg[:at] + jpeg[at + 2 + int.from_bytes(jpeg[at + 2:at + 4], "big"):])
put("cmyk.jpg", jpeg[:at + 15] + b"\0" + jpeg[at + 16:])
for factors in ("2x2", "2x1", "1x2", "4x1", "3x1", "1x1,2x2,2x2"):
    name = "rgb-" + factors.replace(",", "-")
    put(name + ".jpg", run(ppm, "cjpeg", "-quality", "80", "-sample", factors))
jpeg = run(ppm, "cjpeg", "-quality", "80")
put("rgb-arithmetic.jpg", run(ppm, "cjpeg", "-quality", "80", "-arithmetic"))
put("rgb-progressive-arithmetic.jpg", run(jpeg, "jpegtran", "-arithmetic", "-progressive"))
put("rgb-restarts.jpg", run(ppm, "cjpeg", "-quality", "80", "-restart", "1B"))
put("rgb-progressive.jpg", run(jpeg, "jpegtran", "-progressive"))

plain = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)
def exif(entry, values=b"", order="<"):
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
    return head + entry + bytes(4) + values
png = PngImagePlugin.PngInfo()
xmp = '<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><a tiff:Orientation="6"/></x:xmpmeta>'
png.add_itxt("XML:com.adobe.xmp", xmp, zip=True)
put("exif.png", saved(picture, "PNG", exif=exif(plain)))
put("xmp.png", saved(picture, "PNG", pnginfo=png))
raw = PngImagePlugin.PngInfo()
digits = (b"Exif\0\0" + exif(plain)).hex()
raw.add_text("Raw profile type exif", f"\nexif\n{len(digits) // 2:8}\n{digits[:72]}\n{digits[72:]}\n", zip=True)
put("raw-profile.png", saved(picture, "PNG", pnginfo=raw))
put("exif.webp", saved(picture, "WEBP", lossless=True, exif=exif(plain)))
put("xmp.webp", saved(picture, "WEBP", lossless=True, xmp=xmp.encode()))
put("turned.tif", saved(picture, "TIFF", tiffinfo={274: 6}))

put("jpeg.tif", saved(picture, "TIFF", compression="jpeg", quality=80))

small = picture.crop((4, 3, 16, 11))
put("palette.tif", saved(small.quantize(16), "TIFF"))
put("palette-1.tif", saved(small.convert("1"), "TIFF"))
put("palette.gif", saved(small.quantize(16), "GIF"))
gif = saved(small.quantize(16), "GIF")
put("no-screen.gif", gif[:6] + bytes(4) + gif[10:])
transparent = small.quantize(15)
put("transparent.gif", saved(transparent, "GIF", transparency=3))
put("transparent.png", saved(transparent, "PNG", transparency=3))
def tiff(name, array, **how):
    out = io.BytesIO()
    tifffile.imwrite(out, array, photometric="rgb", metadata=None, software=None, **how)
    put(name, out.getvalue())
array = np.asarray(small)
tiff("big.tif", array, bigtiff=True)
alpha = (np.arange(array.shape[0] * array.shape[1]).reshape(array.shape[:2]) * 255 // 95).astype(np.uint8)
straight = np.dstack([array, alpha])
associated = np.dstack([(array.astype(int) * alpha[..., None] + 127) // 255, alpha]).astype(np.uint8)
tiff("straight.tif", straight, extrasamples=["unassalpha"])
tiff("associated.tif", associated, extrasamples=["assocalpha"])
tiff("associated-big-endian.tif", associated, extrasamples=["assocalpha"], byteorder=">")
tiff("unspecified.tif", straight, extrasamples=["unspecified"])
over = lambda rgb: xxhash.xxh3_64_hexdigest(rgb.astype(np.uint8).tobytes())
a = alpha[..., None].astype(int)
print("over white, straight", over((array * a + 255 * (255 - a) + 127) // 255))
print("over white, associated", over(associated[..., :3] + 255 - a))
index = np.asarray(transparent)
flat = np.asarray(transparent.convert("RGB")).copy()
flat[index == 3] = 255
print("over white, palette", over(flat))
bgra = np.dstack([array[..., ::-1], np.zeros(array.shape[:2], np.uint8)])[::-1].tobytes()
def bmp(size, compression):
    head = struct.pack("<IiiHHIIiiII", size, array.shape[1], array.shape[0], 1, 32, compression, len(bgra), 2835, 2835, 0, 0)
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) if size > 40 else b""
    return b"BM" + struct.pack("<IHHI", 14 + size + len(bgra), 0, 0, 14 + size) + (head + masks).ljust(size, b"\0") + bgra
for name, size, compression in (("info", 40, 0), ("v3", 56, 3), ("v4", 108, 3), ("v5", 124, 3)):
    put(f"alpha-0-{name}.bmp", bmp(size, compression))
