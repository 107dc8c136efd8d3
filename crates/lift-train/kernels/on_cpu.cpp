// The kernels as functions of the CPU, for tests: the same text, one thread that goes through the grid.

struct Place {
    unsigned x, y, z;
};
static thread_local Place blockIdx, blockDim, gridDim, threadIdx;
#define __global__
#define __device__

#include "patches.cu"

// Calls `kernel` once for each thread of a grid of `blocks_x` x `blocks_y` blocks with `threads` threads.
template <typename Kernel>
static void launch(unsigned blocks_x, unsigned blocks_y, unsigned threads, Kernel kernel) {
    gridDim = {blocks_x, blocks_y, 1};
    blockDim = {threads, 1, 1};
    for (unsigned y = 0; y < blocks_y; y++)
        for (unsigned x = 0; x < blocks_x; x++)
            for (unsigned thread = 0; thread < threads; thread++) {
                blockIdx = {x, y, 0};
                threadIdx = {thread, 0, 0};
                kernel();
            }
}

extern "C" void on_cpu_patches_of_2_bytes(unsigned blocks_x, unsigned blocks_y, unsigned threads,
                                          const unsigned char *pixels, const unsigned char *mirrored,
                                          const unsigned short *table, unsigned short *out, unsigned crops,
                                          unsigned side, unsigned patch) {
    launch(blocks_x, blocks_y, threads, [=] { patches_of_2_bytes(pixels, mirrored, table, out, crops, side, patch); });
}

extern "C" void on_cpu_patches_of_4_bytes(unsigned blocks_x, unsigned blocks_y, unsigned threads,
                                          const unsigned char *pixels, const unsigned char *mirrored,
                                          const unsigned *table, unsigned *out, unsigned crops, unsigned side,
                                          unsigned patch) {
    launch(blocks_x, blocks_y, threads, [=] { patches_of_4_bytes(pixels, mirrored, table, out, crops, side, patch); });
}
