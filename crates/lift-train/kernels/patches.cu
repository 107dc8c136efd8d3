// Pixels of a batch -> normalised patches, as the patch embedding of a ViT multiplies them.
//
//   pixels    (crops, side, side, 3) u8, row-major
//   mirrored  (crops) u8, not 0: the crop is read from right to left
//   table     (3, 256) words: the normalised value of each byte in each channel
//   out       (crops, side / patch * side / patch, 3 * patch * patch) words, within a patch by (channel, y, x)
//
// A word is a number of 2 or 4 bytes; what it means is the table's matter, so that the values are the CPU's to the last
// bit. Rows of blocks (y) take crops in turn; in a row, a thread writes one word of each of its crops, and neighbours
// write neighbouring words. A crop has less than 2^31 words, all crops together may have more.
//
// No includes: NVRTC needs no headers, and kernels/on_cpu.cpp compiles the same text for the CPU.

template <typename Word>
static __device__ void patches(const unsigned char *pixels, const unsigned char *mirrored, const Word *table, Word *out,
                               unsigned crops, unsigned side, unsigned patch) {
    const unsigned words = side * side * 3;
    const unsigned word = blockIdx.x * blockDim.x + threadIdx.x;
    if (word >= words) return;

    const unsigned in_patch = patch * patch;
    const unsigned columns = side / patch;
    const unsigned x_in_patch = word % patch;
    const unsigned y_in_patch = word / patch % patch;
    const unsigned channel = word / in_patch % 3;
    const unsigned nth_patch = word / (3 * in_patch);
    const unsigned x = nth_patch % columns * patch + x_in_patch;
    const unsigned y = nth_patch / columns * patch + y_in_patch;
    const unsigned plain = (y * side + x) * 3 + channel;
    const unsigned turned = (y * side + (side - 1 - x)) * 3 + channel;

    for (unsigned crop = blockIdx.y; crop < crops; crop += gridDim.y) {
        const unsigned long long start = (unsigned long long)crop * words;
        const unsigned byte = pixels[start + (mirrored[crop] ? turned : plain)];
        out[start + word] = table[channel * 256 + byte];
    }
}

extern "C" __global__ void patches_of_2_bytes(const unsigned char *pixels, const unsigned char *mirrored,
                                              const unsigned short *table, unsigned short *out, unsigned crops,
                                              unsigned side, unsigned patch) {
    patches(pixels, mirrored, table, out, crops, side, patch);
}

extern "C" __global__ void patches_of_4_bytes(const unsigned char *pixels, const unsigned char *mirrored,
                                              const unsigned *table, unsigned *out, unsigned crops, unsigned side,
                                              unsigned patch) {
    patches(pixels, mirrored, table, out, crops, side, patch);
}
